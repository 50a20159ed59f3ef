"""The Workload API under good and bad clients."""
import json
import os
import random
import socket
import time

import grpc
import interface
import tokens
from harness import Agent, Server, certificates, main, own_selectors, protos, wait_until
from harness.streams import Watch, code_of, ids, watch_x509

INVALID = grpc.StatusCode.INVALID_ARGUMENT
DENIED = grpc.StatusCode.PERMISSION_DENIED
UNIMPLEMENTED = grpc.StatusCode.UNIMPLEMENTED


def body(s):
    server = Server(s).start()
    agent = Agent(s, server).start()
    m = protos.messages(protos.WORKLOAD_API)
    api = agent.workload_api()
    mine = own_selectors()
    calls = {
        "FetchX509SVID": (api.FetchX509SVID, m.X509SVIDRequest()),
        "FetchX509Bundles": (api.FetchX509Bundles, m.X509BundlesRequest()),
        "FetchJWTSVID": (api.FetchJWTSVID, m.JWTSVIDRequest(audience=["a"])),
        "FetchJWTBundles": (api.FetchJWTBundles, m.JWTBundlesRequest()),
        "ValidateJWTSVID": (api.ValidateJWTSVID, m.ValidateJWTSVIDRequest(audience="a", svid="x")),
    }

    with s.check("WEP-06: a missing or different security header is INVALID_ARGUMENT"):
        for name, (call, request) in calls.items():
            for header in (None, "TRUE", "True", "1", "", "true,true"):
                metadata = [] if header is None else [("workload.spiffe.io", header)]
                code, text = code_of(call, request, metadata=metadata, timeout=10)
                assert code == INVALID, f"{name} with header {header!r}: {code} {text}"
        code, text = code_of(*calls["FetchX509SVID"], timeout=10)
        assert "security header missing from request" in text, text
        code, _ = code_of(*calls["FetchX509SVID"], timeout=10, metadata=[
            ("workload.spiffe.io", "true"), ("workload.spiffe.io", "true")])
        assert code == INVALID, f"header twice: {code}"

    with s.check("WEP-18, WAPI-26: no identity is PERMISSION_DENIED on each call"):
        for name, (call, request) in calls.items():
            if name == "ValidateJWTSVID":
                continue
            code, text = code_of(call, request, metadata=protos.HEADER, timeout=10)
            assert code == DENIED, f"{name}: {code} {text}"
            assert "no identity issued" in text, text
        log = agent.daemon.log()
        assert f"unix:uid:{os.getuid()}" in log, "the agent's log does not name the selectors"

    with s.check("WAPI-03, STB-01: WIT-SVID methods and unknown methods are UNIMPLEMENTED"):
        for call, request in ((api.FetchWITSVID, m.WITSVIDRequest()),
                              (api.FetchWITBundles, m.WITBundlesRequest())):
            code, text = code_of(call, request, metadata=protos.HEADER, timeout=10)
            assert code == UNIMPLEMENTED, f"{code} {text}"
        unknown = agent.channel().unary_unary("/SpiffeWorkloadAPI/FetchEverything")
        code, text = code_of(unknown, b"", metadata=protos.HEADER, timeout=10)
        assert code == UNIMPLEMENTED, f"{code} {text}"

    interface.check(s, server, agent)
    push(s, server, agent, mine)
    interface.callers(s, server, agent)
    requests(s, server, agent, api, m)
    hostile(s, agent, m)
    many_streams(s, server, agent, m)


def push(s, server, agent, mine):
    api = agent.workload_api()
    first = server.create_entry("one", agent.id, mine)
    watch = None

    with s.check("WAPI-11: the first message comes as soon as there is an identity"):
        def try_watch():
            nonlocal watch
            watch = watch_x509(api)
            try:
                message = watch.next(5)
            except AssertionError:
                return False
            return ids(message) == [server.id("one")]
        wait_until("the entry reaches a new stream", try_watch, 15)

    with s.check("WAPI-09, WAPI-10, WAPI-17 to WAPI-20: a second entry is pushed with the whole state"):
        second = server.create_entry("two", agent.id, mine, "-hint", "same")
        message = watch.until(lambda message: len(message.svids) == 2)
        assert sorted(ids(message)) == [server.id("one"), server.id("two")]
        for svid in message.svids:
            chain = certificates.load_chain(svid.x509_svid)
            assert certificates.uri_sans(chain[0]) == [svid.spiffe_id], "WAPI-17"
            assert certificates.same_key(chain[0], svid.x509_svid_key), "WAPI-19"
            roots = certificates.load_chain(svid.bundle)
            assert not set(chain) & set(roots), "WAPI-18: the root is in the chain"
            assert any(chain[-1].issuer == root.subject for root in roots), "WAPI-20"

    with s.check("WAPI-23: of two identities with the same hint the older one is served"):
        time.sleep(1.1)  # entries of one second are told apart by ID, not by age
        third = server.create_entry("three", agent.id, mine, "-hint", "same")
        fourth = server.create_entry("four", agent.id, mine, "-hint", "other")
        message = watch.until(lambda message: server.id("four") in ids(message))
        assert server.id("three") not in ids(message), ids(message)
        assert server.id("two") in ids(message), ids(message)
        server.delete_entry(third)
        server.delete_entry(fourth)
        watch.until(lambda message: len(message.svids) == 2)

    with s.check("an update of an entry re-issues its SVID on the open stream"):
        words = ["entry", "update", "-entryID", second, "-spiffeID", server.id("two"),
                 "-parentID", agent.id, "-dns", "new.example.org", "-hint", "renamed"]
        for selector in mine:
            words += ["-selector", selector]
        server.ok(*words)
        message = watch.until(lambda message: any(svid.hint == "renamed" for svid in message.svids))

        def has_name(message):
            for svid in message.svids:
                if svid.spiffe_id == server.id("two"):
                    leaf = certificates.load_chain(svid.x509_svid)[0]
                    return certificates.dns_sans(leaf) == ["new.example.org"]
            return False
        if not has_name(message):
            watch.until(has_name)

    with s.check("WAPI-10: a change that does not concern the workload sends nothing"):
        while not watch.silent_for(1.0):
            pass
        other = server.create_entry("unrelated", agent.id, ["unix:uid:4242424"])
        assert watch.silent_for(1.5), "a message for somebody else's entry"
        server.delete_entry(other)

    with s.check("WAPI-21, WAPI-26, WAPI-29: a deleted entry leaves; the last one ends the streams"):
        server.delete_entry(second)
        message = watch.until(lambda message: len(message.svids) == 1)
        assert ids(message) == [server.id("one")]
        bundles = Watch(api.FetchX509Bundles(
            protos.messages(protos.WORKLOAD_API).X509BundlesRequest(), metadata=protos.HEADER))
        assert set(bundles.next().bundles) == {"spiffe://example.org"}, "WAPI-21, WAPI-29"
        server.delete_entry(first)
        assert watch.wait_end() == DENIED, (watch.end, watch.details)
        assert bundles.wait_end() == DENIED, (bundles.end, bundles.details)

    with s.check("a later registration serves a client that tries again"):
        server.create_entry("one", agent.id, mine)
        wait_until("the identity is back", lambda: code_of(
            api.FetchX509SVID, protos.messages(protos.WORKLOAD_API).X509SVIDRequest(),
            metadata=protos.HEADER, timeout=5)[0] == grpc.StatusCode.OK)


def requests(s, server, agent, api, m):
    def jwt(**fields):
        return code_of(api.FetchJWTSVID, m.JWTSVIDRequest(**fields), metadata=protos.HEADER,
                       timeout=10)

    def validate(audience, token):
        return code_of(api.ValidateJWTSVID, m.ValidateJWTSVIDRequest(
            audience=audience, svid=token), metadata=protos.HEADER, timeout=10)

    with s.check("WAPI-14, WAPI-34: bad FetchJWTSVID requests"):
        assert jwt()[0] == INVALID, "no audience"
        assert jwt(audience=[""])[0] == INVALID, "empty audience (JWT-13)"
        assert jwt(audience=["a"], spiffe_id="example.org/x")[0] == INVALID, "malformed ID"
        assert jwt(audience=["a"], spiffe_id=server.id("other"))[0] == DENIED, "another ID"

    token = None
    with s.check("WAPI-32, WAPI-33, WAPI-35: audiences and IDs of tokens"):
        answer = api.FetchJWTSVID(
            m.JWTSVIDRequest(audience=["a", "b"]), metadata=protos.HEADER, timeout=10)
        assert [svid.spiffe_id for svid in answer.svids] == [server.id("one")]
        token = answer.svids[0].svid
        _, claims = certificates.token_parts(token)
        assert sorted(claims["aud"]) == ["a", "b"] and claims["sub"] == server.id("one"), claims

    with s.check("WAPI-32, TRAP-02: audiences that only look alike get tokens of their own"):
        for audience in ("caf\u00e9", "cafe\u0301"):
            answer = api.FetchJWTSVID(
                m.JWTSVIDRequest(audience=[audience]), metadata=protos.HEADER, timeout=10)
            _, claims = certificates.token_parts(answer.svids[0].svid)
            assert claims["aud"] == [audience], [ascii(one) for one in claims["aud"]]

    with s.check("WAPI-36 to WAPI-38: JWT bundles"):
        stream = api.FetchJWTBundles(m.JWTBundlesRequest(), metadata=protos.HEADER, timeout=10)
        bundles = next(stream).bundles
        stream.cancel()
        assert set(bundles) == {"spiffe://example.org"}, set(bundles)
        keys = json.loads(bundles["spiffe://example.org"])["keys"]
        header, _ = certificates.token_parts(token)
        assert header["kid"] in [key["kid"] for key in keys], keys
        assert not any("x5c" in key for key in keys), keys

    with s.check("WAPI-39 to WAPI-41: ValidateJWTSVID accepts what is valid and nothing else"):
        answer = api.ValidateJWTSVID(
            m.ValidateJWTSVIDRequest(audience="b", svid=token), metadata=protos.HEADER, timeout=10)
        assert answer.spiffe_id == server.id("one")
        assert list(answer.claims["aud"]) == ["a", "b"], answer.claims
        assert answer.claims["sub"] == server.id("one")
        head, claims, signature = token.split(".")
        none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0"
        bad = {
            "another audience": ("c", token),
            "no audience": ("", token),
            "no token": ("a", ""),
            "no signature": ("a", f"{head}.{claims}."),
            "another signature": ("a", f"{head}.{claims}.{'A' * len(signature)}"),
            "alg none": ("a", f"{none}.{claims}."),
            "changed claims": ("a", f"{head}.{claims[:-4]}AAAA.{signature}"),
            "two parts": ("a", f"{head}.{claims}"),
            "not a token": ("a", "\x00garbage"),
            "very long": ("a", "a" * 60_000),
        }
        for name, (audience, text) in bad.items():
            code, details = validate(audience, text)
            assert code == INVALID, f"{name}: {code} {details[:200]}"
        code, details = validate("a", "a" * 100_000)
        assert code == grpc.StatusCode.RESOURCE_EXHAUSTED, f"longer than allowed: {code} {details}"

    tokens.check(s, server, api, m, token)


def honest(s, agent, m, what):
    api = agent.workload_api()
    code, text = code_of(
        api.FetchX509SVID, m.X509SVIDRequest(), metadata=protos.HEADER, timeout=10)
    assert code == grpc.StatusCode.OK, f"after {what}: {code} {text}"
    assert agent.daemon.alive, f"after {what} the agent is gone"


def hostile(s, agent, m):
    noise = random.Random(7)
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    inputs = {
        "random bytes": noise.randbytes(4096),
        "a megabyte of zeros": bytes(1 << 20),
        "HTTP/1.1": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "a TLS client hello": bytes.fromhex("16030100a5010000a10303") + noise.randbytes(160),
        "half a preface": preface[:10],
        "a preface and noise": preface + noise.randbytes(2000),
        "a frame of 16 MiB announced": preface + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
        + b"\xff\xff\xff\x00\x00\x00\x00\x00\x01",
        "stray continuation frames": preface + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
        + b"\x00\x00\x01\x09\x00\x00\x00\x00\x01x" * 200,
    }
    with s.check("garbage on the socket harms nobody else"):
        for name, data in inputs.items():
            with socket.socket(socket.AF_UNIX) as raw:
                raw.settimeout(3)
                raw.connect(agent.socket)
                try:
                    raw.sendall(data)
                    raw.shutdown(socket.SHUT_WR)
                    while raw.recv(65536):
                        pass
                except OSError:
                    pass
            honest(s, agent, m, name)

    with s.check("a hundred connections that say nothing harm nobody else"):
        silent = []
        for _ in range(100):
            raw = socket.socket(socket.AF_UNIX)
            raw.connect(agent.socket)
            silent.append(raw)
        honest(s, agent, m, "silent connections")
        for raw in silent:
            raw.close()

    with s.check("malformed and oversize messages end their call only"):
        raw_call = agent.channel().unary_unary("/SpiffeWorkloadAPI/FetchJWTSVID")
        for name, data in (("bad protobuf", b"\xff\xff\xff\xff\xff"), ("8 MiB", bytes(8 << 20)),
                           ("a field cut short", b"\x0a\x7fabc")):
            code, text = code_of(raw_call, data, metadata=protos.HEADER, timeout=15)
            assert code not in (grpc.StatusCode.OK, grpc.StatusCode.DEADLINE_EXCEEDED), (
                f"{name}: {code} {text}")
            honest(s, agent, m, name)

    with s.check("a flood of opened and cancelled calls harms nobody else"):
        api = agent.workload_api()
        for _ in range(400):
            api.FetchX509SVID(m.X509SVIDRequest(), metadata=protos.HEADER).cancel()
        honest(s, agent, m, "cancelled calls")


def many_streams(s, server, agent, m):
    api = agent.workload_api()
    mine = own_selectors()
    with s.check("two hundred streams on one connection all get the push"):
        watches = [watch_x509(api) for _ in range(200)]
        for number, watch in enumerate(watches):
            try:
                watch.next(20)
            except AssertionError as failure:
                raise AssertionError(f"stream {number}: {failure}") from None
        extra = server.create_entry("extra", agent.id, mine)
        for number, watch in enumerate(watches):
            try:
                watch.until(lambda message: server.id("extra") in ids(message), 20)
            except AssertionError as failure:
                raise AssertionError(f"stream {number}: {failure}") from None
        server.delete_entry(extra)
        for watch in watches:
            watch.cancel()
        honest(s, agent, m, "two hundred streams")

    with s.check("TRAP-31: the health service answers on the same socket, without the header"):
        health = protos.messages(protos.HEALTH)
        answer = protos.stub(protos.HEALTH, agent.channel()).Check(
            health.HealthCheckRequest(), timeout=10)
        assert answer.status == health.HealthCheckResponse.SERVING, answer


main(__file__, body)
