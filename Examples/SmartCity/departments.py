"""The smart city in two departments: two trust domains that trust as much of each other as they wrote down."""
import os
import re
import time

from harness import Agent, Server, binary, free_port, wait_until

HERE = os.path.dirname(os.path.abspath(__file__))


def department(scenario, name):
    """A trust domain of its own, with server, bundle endpoint and agent."""
    port = free_port()
    server = Server(
        scenario, name=name, trust_domain=f"{name}.test", default_x509_svid_ttl="5m",
        federation={"bundle_endpoint": {
            "address": "127.0.0.1", "port": port, 'profile "https_spiffe"': {}}}).start()
    server.bundle_port = port
    return server, Agent(scenario, server, name=f"{name}-agent").start()


def federate(scenario, one, other):
    """Trust in both directions: each side hands the other its first bundle and makes a relationship."""
    for ours, theirs in ((one, other), (other, one)):
        path = scenario.path(ours.name, f"{theirs.name}.json")
        with open(path, "w", encoding="utf-8") as file:
            file.write(theirs.ok("bundle", "show", "-format", "spiffe"))
        ours.ok("federation", "create", "-trustDomain", theirs.trust_domain,
                "-bundleEndpointURL", f"https://127.0.0.1:{theirs.bundle_port}/",
                "-bundleEndpointProfile", "https_spiffe",
                "-endpointSpiffeID", theirs.id("spire/server"),
                "-trustDomainBundlePath", path, "-trustDomainBundleFormat", "spiffe")
        ours.ok("federation", "refresh", "-id", theirs.trust_domain)


def rotate(server):
    """A new authority signs, and the old one is taken back: all four steps, as after a break-in."""
    def state():
        return server.json("localauthority", "x509", "show")
    old = state()["active"]["authority_id"]
    server.ok("localauthority", "x509", "prepare")
    new = state()["prepared"]["authority_id"]
    server.ok("localauthority", "x509", "activate", "-authorityID", new)
    server.ok("localauthority", "x509", "taint", "-authorityID", old)
    time.sleep(1)  # Connections that have begun with the old SVID come to their end.
    server.ok("localauthority", "x509", "revoke", "-authorityID", old)
    return old, new


def run(scenario, demo):
    """Shows it; `demo` has the helpers of the demo's first half."""
    step, show, expect, first = demo.step, demo.show, demo.expect, demo.first

    def actor(agent, name, script=None, program=None):
        path = os.path.join(HERE, script) if script else None
        return demo.Actor(scenario, agent, name, script=path, program=program)

    step("two departments: transport.test and energy.test, each with server and agent of its own")
    transport, streets = department(scenario, "transport")
    energy, grid = department(scenario, "energy")
    federate(scenario, transport, energy)
    show([f"{one.trust_domain}: bundle endpoint on 127.0.0.1:{one.bundle_port}"
          for one in (transport, energy)])

    light = actor(streets, "traffic-light", "traffic_light.py")
    bus = actor(streets, "bus", "traffic_light.py")
    forecaster = actor(grid, "forecaster", "forecaster.py")
    breaker = actor(grid, "breaker", program=binary("smartcity-action"))
    transport.create_entry(light.name, streets.id, light.selectors, "-federatesWith", "energy.test")
    transport.create_entry(bus.name, streets.id, bus.selectors, "-federatesWith", "energy.test")
    energy.create_entry(
        forecaster.name, grid.id, forecaster.selectors, "-federatesWith", "transport.test")
    energy.create_entry(breaker.name, grid.id, breaker.selectors)
    allowed, forecast = transport.id(light.name), energy.id(forecaster.name)

    addresses = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    forecaster.start("--listen", addresses[0], "--allow", allowed)
    breaker.start("--listen", addresses[1], "--allow", forecast)
    for one in (forecaster, breaker):
        wait_until(f"{one.name} listens", lambda: demo.ready(one), 20)
        show(one.lines("I am"))

    step("the traffic light asks the load forecaster, and tries the grid's breaker")
    code, lines = light.run("--connect", addresses[0], "--expect", forecast, "--count", "3")
    show(lines)
    expect("traffic light", "reaches the forecaster of the other department", code == 0,
           first(lines[-1:], "no output"))
    code, lines = light.run(
        "--connect", addresses[1], "--expect", energy.id(breaker.name), "--count", "1")
    demo.wait_a_moment(lambda: breaker.lines("refused"))
    show(breaker.lines("refused")[:1])
    expect("traffic light", "is refused by the breaker, which federates with nobody",
           code == 2 and bool(breaker.lines("refused")) and not breaker.lines("accepted"),
           first(lines[-1:], "no output"))
    code, lines = bus.run("--connect", addresses[0], "--expect", forecast, "--count", "1")
    demo.wait_a_moment(lambda: forecaster.lines(f"refused {transport.id(bus.name)}"))
    said = forecaster.lines(f"refused {transport.id(bus.name)}")
    show(said[:1])
    expect("bus", "is refused by the forecaster, though its department is a partner",
           code == 2 and bool(said), first(lines[-1:], "no output"))

    step("a third trust domain, water.test, that nobody invited")
    water, pumps = department(scenario, "water")
    pump = actor(pumps, "pump", "traffic_light.py")
    water.create_entry(pump.name, pumps.id, pump.selectors)
    before = len(forecaster.lines("refused a caller"))
    code, lines = pump.run(
        "--connect", addresses[0], "--expect", forecast, "--count", "1", "--trusting")
    demo.wait_a_moment(lambda: len(forecaster.lines("refused a caller")) > before)
    said = forecaster.lines("refused a caller")[before:]
    show(said[:1])
    expect("pump of water.test", "is refused by the forecaster", code == 2 and bool(said),
           first(lines[-1:], "no output"))

    step("both departments replace a stolen authority while the traffic light asks on")
    light.start("--connect", addresses[0], "--expect", forecast)
    wait_until("the light asks", lambda: bool(light.lines("the load is")), 20)
    for server in (energy, transport):
        begun = time.monotonic()
        old, new = rotate(server)
        show([f"{server.trust_domain}: {old[:12]}… is revoked, {new[:12]}… signs "
              f"({time.monotonic() - begun:.1f} s)"])
        time.sleep(1)
    light.daemon.stop()
    summary = first(light.lines("asked")[-1:], "no summary")
    count = re.search(r"asked (\d+) times, (\d+) failed", summary)
    show(light.lines("failed:")[:3] + [summary])
    expect("traffic light", "had no failed handshake in two rotations",
           bool(count) and int(count.group(1)) >= 20 and int(count.group(2)) == 0, summary)
