"""Two trust domains that fetch each other's bundles, and what happens when one is away."""
import json

from harness import Agent, Server, Workload, free_port, main, wait_until

LABELS = ("Trust domain", "Bundle endpoint URL", "Bundle endpoint profile", "Endpoint SPIFFE ID")


def endpoint(port, **more):
    """The block `federation` of a server with a bundle endpoint."""
    return {"bundle_endpoint": {
        "address": "127.0.0.1", "port": port, 'profile "https_spiffe"': {}}, **more}


def partner(server, port, bootstrap=None):
    """The block `federates_with` for that server."""
    block = {
        "bundle_endpoint_url": f"https://127.0.0.1:{port}/",
        'bundle_endpoint_profile "https_spiffe"': {
            "endpoint_spiffe_id": server.id("spire/server")},
    }
    if bootstrap:
        block |= {"bootstrap_bundle_path": bootstrap, "bootstrap_bundle_format": "spiffe"}
    return {f'federates_with "{server.trust_domain}"': block}


def create(server, other, port, *more):
    """The words that make a relationship with that server."""
    return ("federation", "create", "-trustDomain", other.trust_domain,
            "-bundleEndpointURL", f"https://127.0.0.1:{port}/",
            "-bundleEndpointProfile", "https_spiffe",
            "-endpointSpiffeID", other.id("spire/server"), *more)


def status(server, trust_domain):
    partners = server.json("federation", "status").get("partners") or []
    return next((one for one in partners if one["trust_domain"] == trust_domain), None)


def fails(done, *words):
    assert done.returncode == 1, f"exit code {done.returncode}: {done.stdout}{done.stderr}"
    for word in words:
        assert word.lower() in done.stderr.lower(), f"{word!r} is not in {done.stderr!r}"


def body(s):
    ports = free_port(), free_port()
    transport = Server(
        s, name="transport", trust_domain="transport.test", federation=endpoint(ports[0])).start()
    energy = Server(
        s, name="energy", trust_domain="energy.test", federation=endpoint(ports[1])).start()
    agent = Agent(s, transport, name="transport-agent").start()
    light, clerk = Workload(s, "light"), Workload(s, "clerk")
    first = s.path("energy.json")
    with open(first, "w", encoding="utf-8") as file:
        file.write(energy.ok("bundle", "show", "-format", "spiffe"))

    def bundles(workload):
        """The trust domains that a workload has bundles of; none while it has no identity."""
        try:
            got = workload.run("stock_spiffe.py", agent.address, "spiffe://transport.test/audience")
        except (AssertionError, ValueError):
            return []
        return sorted(got.get("x509_bundles") or [])

    with s.check("an entry cannot federate with a stranger"):
        done = transport.cli(
            "entry", "create", "-spiffeID", transport.id("light"), "-parentID", agent.id,
            "-selector", light.selectors[0], "-federatesWith", "energy.test")
        fails(done, "energy.test")

    with s.check("FED-06, FED-21: bad relationships are refused in clear words"):
        for flags, words in (
                (("-trustDomain", "transport.test"), ["own"]),
                (("-trustDomain", "Energy.test"), ["trust domain"]),
                (("-bundleEndpointURL", "http://127.0.0.1"), ["https"]),
                (("-bundleEndpointURL", "https://u:p@127.0.0.1"), ["user information"]),
                (("-endpointSpiffeID", "spiffe://energy.test"), ["path"])):
            words_of = list(create(transport, energy, ports[1]))
            words_of[words_of.index(flags[0]) + 1] = flags[1]
            fails(transport.cli(*words_of), *words)
        text = transport.ok("federation", "list")
        assert text.startswith("Found 0 federation relationships"), text

    with s.check("FED-23: without the endpoint's bundle there is no contact, and the status says so"):
        text = transport.ok(*create(transport, energy, ports[1]))
        assert [line.split(":")[0].rstrip() for line in text.splitlines() if line] == list(LABELS), text
        fails(transport.cli("federation", "refresh", "-id", "energy.test"), "energy.test")
        wait_until("the status has the error",
                   lambda: status(transport, "energy.test")["last_error"] != "")
        assert not status(transport, "energy.test")["has_bundle"]
        fails(transport.cli(*create(transport, energy, ports[1])), "AlreadyExists")

    with s.check("an entry is not held up by a partner whose bundle has not come"):
        transport.create_entry(
            "light", agent.id, light.selectors, "-federatesWith", "energy.test")
        transport.create_entry("clerk", agent.id, clerk.selectors)
        wait_until("the light has its identity", lambda: bundles(light) == ["transport.test"])

    with s.check("FED-01, FED-22, FED-36: the first bundle by hand, then the endpoint's"):
        done = transport.ok("bundle", "set", "-id", "spiffe://energy.test", "-format", "spiffe",
                            "-path", first)
        assert done == "bundle set.\n", done
        assert transport.ok("federation", "refresh", "-id", "energy.test") == "Bundle refreshed\n"
        wait_until("the light has the partner's bundle",
                   lambda: bundles(light) == ["energy.test", "transport.test"])
        wait_until("a request waits at the partner", lambda: status(transport, "energy.test")["waiting"])
        assert "waiting: " in transport.ok("federation", "status")
        assert bundles(clerk) == ["transport.test"], "only those that federate"
        published = json.loads(energy.ok("bundle", "show", "-format", "spiffe"))
        state = status(transport, "energy.test")
        assert state["sequence_number"] == str(published["spiffe_sequence"]), state
        assert state["last_error"] == "" and int(state["last_success"]) > 0, state
        text = transport.ok("federation", "status")
        for label in ("Age", "Sequence number", "Last error"):
            assert label in text, text

    with s.check("bundle list and count show the partner's bundle"):
        text = transport.ok("bundle", "list")
        assert "* energy.test" in text and "BEGIN CERTIFICATE" in text, text
        assert transport.ok("bundle", "count") == "2 bundles\n"
        alone = transport.ok("bundle", "list", "-id", "energy.test", "-format", "spiffe")
        assert json.loads(alone)["keys"], alone
        fails(transport.cli("bundle", "list", "-id", "transport.test"), "own")

    with s.check("a partner's new authority arrives as it happens, not at the refresh hint of five minutes"):
        def certificates(text):
            return sorted(key["x5c"][0] for key in json.loads(text)["keys"] if "x5c" in key)
        energy.ok("localauthority", "x509", "prepare")
        wanted = certificates(energy.ok("bundle", "show", "-format", "spiffe"))
        assert wanted != certificates(alone), "there is no new authority"
        wait_until("transport has the new authority", lambda: wanted == certificates(
            transport.ok("bundle", "list", "-id", "energy.test", "-format", "spiffe")), 20)

    with s.check("a new authority waits for the partner to have it, and not for one that is gone"):
        prepared = energy.json("localauthority", "x509", "show")["prepared"]["authority_id"]
        energy.ok("localauthority", "x509", "activate", "-authorityID", prepared)
        assert "partners have not said in time" not in energy.daemon.log(), "the partner has it"
        assert transport.ok("federation", "refresh", "-id", "energy.test") == "Bundle refreshed\n"

    with s.check("FED-38: the partner still trusts nothing of ours; then its configuration does"):
        assert energy.ok("bundle", "count") == "1 bundle\n"
        ours = s.path("transport.json")
        with open(ours, "w", encoding="utf-8") as file:
            file.write(transport.ok("bundle", "show", "-format", "spiffe"))
        energy.write_config(federation=endpoint(ports[1], **partner(transport, ports[0], ours)))
        energy.restart()
        wait_until("energy has fetched", lambda: status(energy, "transport.test")
                   and int(status(energy, "transport.test")["last_success"]) > 0)
        assert status(energy, "transport.test")["configured"]
        assert energy.ok("federation", "list").startswith("Found 0 "), "the configuration's are not shown"

    with s.check("FED-37: a partner that is away costs nobody the last bundle"):
        energy.stop()
        fails(transport.cli("federation", "refresh", "-id", "energy.test"), "energy.test")
        state = status(transport, "energy.test")
        assert state["failures"] >= 1 and state["last_error"] and state["has_bundle"], state
        assert bundles(light) == ["energy.test", "transport.test"]
        energy.start()
        transport.ok("federation", "refresh", "-id", "energy.test")
        assert status(transport, "energy.test")["failures"] == 0

    with s.check("FED-25: an endpoint with another SPIFFE ID than agreed changes nothing, and the status says which"):
        def update(name):
            words = list(create(transport, energy, ports[1]))
            words[1] = "update"
            words[words.index("-endpointSpiffeID") + 1] = energy.id(name)
            transport.ok(*words)
        held = transport.ok("bundle", "list", "-id", "energy.test", "-format", "spiffe")
        update("somebody/else")
        fails(transport.cli("federation", "refresh", "-id", "energy.test"), "spiffe://energy.test")
        state = status(transport, "energy.test")
        assert "somebody/else" in state["last_error"] or "spire/server" in state["last_error"], state
        assert state["failures"] >= 1 and state["has_bundle"], state
        assert transport.ok("bundle", "list", "-id", "energy.test", "-format", "spiffe") == held
        assert bundles(light) == ["energy.test", "transport.test"]
        update("spire/server")
        assert transport.ok("federation", "refresh", "-id", "energy.test") == "Bundle refreshed\n"
        assert status(transport, "energy.test")["last_error"] == ""

    with s.check("FED-32: a restart keeps relationship and bundle"):
        transport.restart()
        assert "energy.test" in transport.ok("federation", "show", "-trustDomain", "energy.test")
        assert transport.ok("bundle", "count") == "2 bundles\n"

    with s.check("bundle delete heeds the entries"):
        fails(transport.cli("bundle", "delete", "-id", "energy.test"), "1 registration entries")

    with s.check("FED-39: ending the relationship ends the trust"):
        done = transport.ok("federation", "delete", "-id", "energy.test")
        assert done == "federation relationship deleted.\n", done
        wait_until("the light has lost the partner's bundle",
                   lambda: bundles(light) == ["transport.test"])
        fails(transport.cli("federation", "delete", "-id", "energy.test"), "not found")
        fails(transport.cli("federation", "refresh", "-id", "energy.test"), "NotFound")

    with s.check("relationships come from a JSON file too, each judged on its own"):
        data = {"federationRelationships": [
            {"trustDomain": "energy.test", "bundleEndpointURL": f"https://127.0.0.1:{ports[1]}/",
             "bundleEndpointProfile": "https_spiffe",
             "endpointSPIFFEID": energy.id("spire/server"),
             "trustDomainBundle": published, "trustDomainBundleFormat": "spiffe"},
            {"trustDomain": "transport.test", "bundleEndpointURL": "https://127.0.0.1/",
             "bundleEndpointProfile": "https_web"}]}
        done = transport.cli("federation", "create", "-data", "-", input=json.dumps(data))
        fails(done, "InvalidArgument", "failed to create one or more")
        assert "energy.test" in done.stdout, done.stdout
        wait_until("the light has the bundle again",
                   lambda: bundles(light) == ["energy.test", "transport.test"])


main(__file__, body)
