"""Two trust domains that become partners with one line each, and what a bad line does."""
import base64
import hashlib
import json
import os
import time

from harness import Agent, Server, Workload, free_port, main, protos, wait_until
from harness.sdk_peer import SwiftPeer, lines, listening
from harness.streams import Watch

SECONDS = 6
LIMITS = "cygnet.workload.v1.PartnerLimits"


def federation(port, **more):
    """The block `federation` of a server with a bundle endpoint."""
    return {"bundle_endpoint": {
        "address": "127.0.0.1", "port": port, 'profile "https_spiffe"': {}}, **more}


def fails(done, *words):
    assert done.returncode == 1, f"exit code {done.returncode}: {done.stdout}{done.stderr}"
    for word in words:
        assert word.lower() in done.stderr.lower(), f"{word!r} is not in {done.stderr!r}"


def forged(line, change):
    """The line with another payload, and with a checksum that fits."""
    parts = line.split(".")
    padded = parts[1] + "=" * (-len(parts[1]) % 4)
    payload = json.loads(base64.urlsafe_b64decode(padded))
    change(payload)
    text = json.dumps(payload, sort_keys=True, separators=(",", ":"))
    parts[1] = base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
    body = ".".join(parts[:-1])
    return body + "." + hashlib.sha256(body.encode()).hexdigest()[:8]


def last_json(daemon):
    lines = [line for line in daemon.log().split("\n") if line.startswith("{")]
    assert lines, daemon.log()[-800:]
    return json.loads(lines[-1])


def limit(server, *patterns):
    """What the server accepts of energy.test."""
    flags = [word for pattern in patterns for word in ("-acceptedPath", pattern)]
    server.ok("federation", "limits", "set", "-trustDomain", "energy.test", *flags,
              "-use", "x509", "-use", "jwt")


def sdk(s, ana, ben, agents):
    """Programs with the SDK, whose authorizers would let each other in."""
    light = SwiftPeer(s, agents[0], "swift-light")
    inside, outside = SwiftPeer(s, agents[1], "swift-agent"), SwiftPeer(s, agents[1], "swift-meter")
    ana.create_entry("swift-light", agents[0].id, light.selectors, "-federatesWith", "energy.test")
    ben.create_entry("agents/swift", agents[1].id, inside.selectors, "-federatesWith", "transport.test")
    ben.create_entry("meters/swift", agents[1].id, outside.selectors, "-federatesWith", "transport.test")
    here = ana.id("swift-light")

    def is_answered(peer, port):
        return peer.run("connect", port, here) == {"peer": here, "answer": "ping\n"}

    def tells_paths(listener):
        wait_until("the reason is told", lambda: any(
            "outside of the paths" in line for line in lines(listener, "refused")), 10)

    with s.check("limits: a server with the SDK accepts a partner's X509-SVID within the accepted paths"):
        port = free_port()
        listener = listening(light.start("listen", port, ben.id("agents/swift")))
        assert is_answered(inside, port), listener.log_tail()
        assert lines(listener, "peer") == [ben.id("agents/swift")], listener.log_tail()

    with s.check("limits: when they get narrower, the running server refuses it"):
        limit(ana, "/meters/*")
        wait_until("it is refused", lambda: not is_answered(inside, port), 20)
        tells_paths(listener)
        listener.stop()

    with s.check("limits: the same with a path that was outside before and is again"):
        port = free_port()
        listener = listening(light.start("listen", port, ben.id("meters/swift")))
        assert is_answered(outside, port), listener.log_tail()
        limit(ana, "/agents/*")
        wait_until("it is refused", lambda: not is_answered(outside, port), 20)
        tells_paths(listener)
        listener.stop()

    with s.check("limits: a client with the SDK refuses a partner's server outside, and accepts one within"):
        for peer, name, word in ((inside, "agents/swift", None), (outside, "meters/swift", "outside of the paths")):
            port = free_port()
            listener = listening(peer.start("listen", port, here))
            done = light.run("connect", port, ben.id(name))
            if word:
                assert word in done.get("error", ""), done
            else:
                assert done == {"peer": ben.id(name), "answer": "ping\n"}, done
            listener.stop()

    with s.check("limits: the SDK refuses a partner's JWT-SVID outside by itself, and accepts one within"):
        def checked(path):
            token = ben.ok("jwt", "mint", "-spiffeID", ben.id(path), "-audience", "here").strip()
            return light.run("jwt-check", "here", token)
        assert checked("agents/swift").get("id") == ben.id("agents/swift")
        error = checked("meters/swift")["error"]
        # What the agent says begins with its address.
        assert error.startswith("JWT-SVID rejected") and "outside of the paths" in error, error


def body(s):
    ports = free_port(), free_port()
    ana = Server(
        s, name="transport", trust_domain="transport.test", federation=federation(ports[0])).start()
    ben = Server(
        s, name="energy", trust_domain="energy.test", federation=federation(
            ports[1], **{'trust_domain_group "city"': {
                "trust_domains": ["transport.test", "energy.test"]}})).start()
    agents = (Agent(s, ana, name="transport-agent").start(), Agent(s, ben, name="energy-agent").start())
    light, forecaster = Workload(s, "light"), Workload(s, "forecaster")

    def partners(server):
        return server.json("federation", "status").get("partners") or []

    with s.check("an invite is one line on standard output"):
        done = ana.cli("federation", "invite", check=True)
        line = done.stdout.strip()
        assert done.stdout.count("\n") == 1 and line.startswith("cygnet-invite-1."), done.stdout
        assert f"https://127.0.0.1:{ports[0]}/" in done.stderr, done.stderr
        shown = ana.json("federation", "invite", "-ttl", "1h")
        assert shown["trust_domain"] == "transport.test", shown
        assert shown["endpoint_spiffe_id"] == ana.id("spire/server"), shown
        assert 3500 < shown["expires_at"] - time.time() <= 3601, shown

    with s.check("a line that was cut, changed or made by nobody changes nothing"):
        fails(ben.cli("federation", "accept", "hello"), "invite")
        fails(ben.cli("federation", "accept", line[:-20]), "damaged")
        fails(ben.cli("federation", "accept", line.replace("invite-1.", "invite-9.")), "version")
        longer = forged(line, lambda one: one.update(exp=one["exp"] + 1))
        fails(ben.cli("federation", "accept", longer), "signature")

        def other_bundle(one):
            digest = base64.urlsafe_b64encode(hashlib.sha256(b"x").digest()).decode().rstrip("=")
            one.update(fp=digest, x5=[digest])
        fails(ben.cli("federation", "accept", forged(line, other_bundle)), "none of the authorities")

        def other_place(one):
            one.update(url=f"https://127.0.0.1:{ports[1]}/")
        fails(ben.cli("federation", "accept", forged(line, other_place)), "bundle of transport.test")
        assert partners(ben) == [], partners(ben)

    with s.check("our own invite is for the partner"):
        fails(ana.cli("federation", "accept", line), "own trust domain")

    with s.check("an invite ends with its time"):
        short = ana.ok("federation", "invite", "-ttl", "2s").strip()
        time.sleep(3)
        fails(ben.cli("federation", "accept", short), "expired")
        assert partners(ben) == [], partners(ben)

    with s.check("a dry run shows what would be trusted, and changes nothing"):
        text = ben.ok("federation", "accept", line, "-dryRun")
        for word in ("transport.test", "https_spiffe", "Bundle fingerprint", "valid until",
                     "Nothing was changed"):
            assert word in text, (word, text)
        assert partners(ben) == [], partners(ben)

    with s.check("one line in each direction, and both are partners"):
        # As mail programs break it.
        broken = "\n".join(line[at:at + 70] for at in range(0, len(line), 70))
        text = ben.ok("federation", "accept", "-", input=broken + "\n")
        assert "transport.test" in text, text
        back = ben.ok("federation", "invite", "-ttl", "1h").strip()
        got = json.loads(ana.ok("federation", "accept", back, "-use", "x509", "-use", "jwt",
                                "-acceptedPath", "/agents/*", "-output", "json"))
        assert got["result"] == "created" and got["grounds"] == "same_bundle", got
        for server, name in ((ana, "energy.test"), (ben, "transport.test")):
            wait_until(f"{name} was fetched", lambda: any(
                one["trust_domain"] == name and int(one["last_success"]) > 0
                for one in partners(server)))

    with s.check("a relationship is replaced only when that is said"):
        fails(ben.cli("federation", "accept", line), "already", "-replace")
        ben.ok("federation", "accept", line, "-replace")

    with s.check("the status tells of limits and groups"):
        one = partners(ana)[0]
        assert one["limits"]["accepted_paths"]["patterns"] == ["/agents/*"], one
        assert partners(ben)[0]["groups"] == ["city"], partners(ben)
        text = ana.ok("federation", "status")
        assert "Accepted paths" in text and "/agents/*" in text, text
        assert "Group" in ben.ok("federation", "status")

    with s.check("an entry cannot federate with a group that is not there"):
        fails(ana.cli("entry", "create", "-spiffeID", ana.id("x"), "-parentID", agents[0].id,
                      "-selector", "unix:uid:1", "-federatesWith", "group:city"), "city")

    with s.check(f"mutual TLS across, {SECONDS} s"):
        ana.create_entry("light", agents[0].id, light.selectors, "-federatesWith", "energy.test")
        ben.create_entry("agents/forecaster", agents[1].id, forecaster.selectors,
                         "-federatesWith", "group:city")
        assert ben.entries()[0]["federates_with"] == ["group:city"], ben.entries()
        for workload, agent in ((light, agents[0]), (forecaster, agents[1])):
            def has_both():
                try:
                    got = workload.run("stock_spiffe.py", agent.address, "spiffe://any.test/aud")
                except (AssertionError, ValueError):
                    return False
                return sorted(got.get("x509_bundles") or []) == ["energy.test", "transport.test"]
            wait_until(f"{workload.name} has both bundles", has_both)
        port = free_port()
        listener = forecaster.start("mtls_peer.py", "listen", agents[1].address, port,
                                    ana.id("light"), SECONDS + 3)
        wait_until("the listening end is ready", lambda: "ready" in listener.log(), 20)
        caller = light.start("mtls_peer.py", "connect", agents[0].address, port,
                             ben.id("agents/forecaster"), SECONDS)
        wait_until("the calling end has finished", lambda: not caller.alive, SECONDS + 30)
        called = last_json(caller)
        assert called["failures"] == [] and called["handshakes"] > 3, called

    sdk(s, ana, ben, agents)

    with s.check("limits: a JWT-SVID counts within the accepted paths only"):
        ana.create_entry("verifier", agents[0].id, [f"unix:uid:{os.getuid()}"],
                         "-federatesWith", "energy.test")

        def validate(path):
            token = ben.ok("jwt", "mint", "-spiffeID", ben.id(path), "-audience", "here").strip()
            return agents[0].cli("api", "validate", "jwt", "-audience", "here", "-svid", token)
        wait_until("a token of the partner is accepted",
                   lambda: validate("agents/forecaster").returncode == 0, 20)
        fails(validate("meters/7"), "outside of the paths")
        fails(validate("agents/a/b"), "outside of the paths")
        ana.ok("federation", "limits", "set", "-trustDomain", "energy.test", "-use", "x509")
        wait_until("no token of the partner is accepted",
                   lambda: validate("agents/forecaster").returncode != 0, 20)
        ana.ok("federation", "limits", "delete", "-trustDomain", "energy.test")
        wait_until("every token of the partner is accepted",
                   lambda: validate("meters/7").returncode == 0, 20)
        fails(ana.cli("federation", "limits", "set", "-trustDomain", "transport.test",
                      "-use", "jwt"), "own")

    with s.check("limits: the agent tells workloads whose entries federate with the partner, at once"):
        messages = protos.messages(LIMITS)
        watch = Watch(protos.stub(LIMITS, agents[0].channel()).FetchPartnerLimits(
            messages.FetchPartnerLimitsRequest(), metadata=protos.HEADER))
        told = watch.next()
        assert list(told.trust_domains) == ["transport.test", "energy.test"] and not told.limits, told
        limit(ana, "/agents/*", "/grid/**")
        told = watch.until(lambda message: message.limits, 20).limits[0]
        assert told.trust_domain == "energy.test" and told.x509 and told.jwt, told
        assert told.limits_paths and list(told.accepted_paths) == ["/agents/*", "/grid/**"], told
        ana.ok("federation", "limits", "delete", "-trustDomain", "energy.test")
        watch.until(lambda message: not message.limits, 20)
        watch.cancel()


main(__file__, body)
