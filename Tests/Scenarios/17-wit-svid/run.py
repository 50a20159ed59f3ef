"""WIT-SVIDs from mint to Workload API, judged by PyJWT and grpcio; and nothing of it without the flag."""
import json
import os
import stat
import time

import grpc
import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from harness import Agent, Server, Workload, main, own_selectors, protos, wait_until
from harness.certificates import token_parts
from harness import ledger
from harness.streams import Watch

ON = {"feature_flags": ["wit-svid"]}
PRIVATE = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}


def messages():
    return protos.messages(protos.WORKLOAD_API)


def fetch(agent, spiffe_id="", metadata=protos.HEADER):
    call = agent.workload_api().FetchWITSVID(
        messages().WITSVIDRequest(spiffe_id=spiffe_id), metadata=metadata, timeout=15)
    first = next(call)
    call.cancel()
    return first.svids


def fetch_bundles(agent, metadata=protos.HEADER):
    call = agent.workload_api().FetchWITBundles(
        messages().WITBundlesRequest(), metadata=metadata, timeout=15)
    first = next(call)
    call.cancel()
    return dict(first.bundles)


def code(body):
    """The status of a call that must fail."""
    try:
        body()
    except grpc.RpcError as error:
        return error.code()
    raise AssertionError("the call was answered")


def published(server):
    return json.loads(server.ok("bundle", "show", "-format", "spiffe"))["keys"]


def verified(token, keys):
    """The claims, after PyJWT has checked the signature with the one key of that kid."""
    kid = jwt.get_unverified_header(token)["kid"]
    (key,) = [key for key in keys if key.get("kid") == kid]
    return jwt.decode(token, jwt.PyJWK(key).key, algorithms=["ES256", "ES384", "RS256"])


def check_token(token, spiffe_id, keys):
    """Rows WIT-01, 02, 05, 06, 08, 10, 11, 13, 14, 17 and 23."""
    header, _ = token_parts(token)
    assert set(header) == {"alg", "kid", "typ"} and header["typ"] == "wit+jwt", header
    claims = verified(token, keys)
    assert claims["sub"] == spiffe_id, claims
    assert "aud" not in claims and "iss" not in claims, claims
    assert claims["exp"] > claims["iat"] > time.time() - 300, claims
    jwk = claims["cnf"]["jwk"]
    assert not PRIVATE & set(jwk), jwk
    assert jwk["alg"] in ("ES256", "ES384", "PS256", "RS256"), jwk
    return claims


def check_key(private_jwk, claims, algorithm="ES256"):
    """Whether a private JWK makes signatures that the key in cnf verifies; PyJWT does both."""
    private = json.loads(private_jwk)
    assert "d" in private and private["kty"] == claims["cnf"]["jwk"]["kty"], set(private)
    proof = jwt.encode({"x": 1}, jwt.PyJWK(private, algorithm).key, algorithm=algorithm)
    jwt.decode(proof, jwt.PyJWK(claims["cnf"]["jwk"]).key, algorithms=[algorithm])


def public_der(key):
    return key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def minting(s, server):
    with s.check("WIT-01, WIT-02, WIT-05, WIT-06, WIT-08, WIT-10, WIT-11, WIT-13, WIT-14, WIT-17, WIT-23: "
                 "a minted WIT-SVID verifies with the published key, by PyJWT"):
        token, key = server.ok("wit", "mint", "-spiffeID", server.id("minted")).split("\n")[:2]
        claims = check_token(token, server.id("minted"), published(server))
        assert claims["exp"] - claims["iat"] == 3600, claims
        check_key(key, claims)

    with s.check("WIT-35: every kind of key with its algorithms"):
        for kind, algorithm in [("ec-p256", "ES256"), ("ec-p384", "ES384"), ("rsa-2048", "PS256"),
                                ("rsa-2048", "RS256")]:
            token, key = server.ok(
                "wit", "mint", "-spiffeID", server.id("minted"), "-keyType", kind,
                "-signingAlgorithm", algorithm).split("\n")[:2]
            claims = check_token(token, server.id("minted"), published(server))
            assert claims["cnf"]["jwk"]["alg"] == algorithm, claims
            check_key(key, claims, algorithm)

    with s.check("wit mint writes files and JSON"):
        folder = os.path.dirname(s.path("minted", "x"))
        text = server.ok("wit", "mint", "-spiffeID", server.id("minted"), "-ttl", "5m", "-write", folder)
        assert "WIT-SVID written to" in text and "Private key written to" in text, text
        with open(f"{folder}/token", encoding="utf-8") as file:
            claims = check_token(file.read(), server.id("minted"), published(server))
        assert claims["exp"] - claims["iat"] == 300, claims
        with open(f"{folder}/key", encoding="utf-8") as file:
            check_key(file.read(), claims)
        for name in ("token", "key"):
            assert stat.S_IMODE(os.stat(f"{folder}/{name}").st_mode) == 0o600, name
        made = server.json("wit", "mint", "-spiffeID", server.id("minted"))
        claims = check_token(made["svid"]["token"], server.id("minted"), published(server))
        check_key(made["private_key"], claims)
        assert made["svid"]["id"] == {"trust_domain": "example.org", "path": "/minted"}, made["svid"]

    with s.check("wit mint refuses what cannot be"):
        for words in (["-spiffeID", ""], ["-spiffeID", "spiffe://other.org/x"],
                      ["-spiffeID", "spiffe://example.org"], ["-spiffeID", "nonsense"],
                      ["-spiffeID", server.id("x"), "-signingAlgorithm", "EdDSA"],
                      ["-spiffeID", server.id("x"), "-keyType", "ec-p384"],
                      ["-spiffeID", server.id("x"), "-keyType", "rsa-2048"]):
            done = server.cli("wit", "mint", *words)
            assert done.returncode == 1 and done.stderr and not done.stdout, (words, done)

    with s.check("WIT-14: MintWITSVID refuses keys and algorithms that do not fit"):
        m = protos.messages(protos.SVID)
        stub = server.stub(protos.SVID)
        identity = protos.types("spiffeid").SPIFFEID(trust_domain="example.org", path="/api")
        key = public_der(ec.generate_private_key(ec.SECP256R1()))
        for fields in ({"signing_algorithm": ""}, {"signing_algorithm": "EdDSA"},
                       {"signing_algorithm": "ES384"}, {"signing_algorithm": "none"},
                       {"public_key": b""}, {"public_key": key + b"\0"}, {"ttl": -1}):
            request = m.MintWITSVIDRequest(**{
                "id": identity, "public_key": key, "signing_algorithm": "ES256", **fields})
            status = code(lambda: stub.MintWITSVID(request, timeout=10))
            assert status == grpc.StatusCode.INVALID_ARGUMENT, (fields, status)
        good = m.MintWITSVIDRequest(id=identity, public_key=key, signing_algorithm="ES256")
        answer = stub.MintWITSVID(good, timeout=10).svid
        check_token(answer.token, server.id("api"), published(server))
        m = protos.messages(protos.SVID)
        status = code(lambda: stub.BatchNewWITSVID(m.BatchNewWITSVIDRequest(), timeout=10))
        assert status == grpc.StatusCode.PERMISSION_DENIED, status

    with s.check("WIT-32, WIT-33: the bundle has the keys with use wit-svid and IDs of their own"):
        keys = published(server)
        uses = [key["use"] for key in keys]
        assert uses.count("wit-svid") >= 1 and uses.count("jwt-svid") >= 1, uses
        ids = [key["kid"] for key in keys if key["use"] != "x509-svid"]
        assert len(set(ids)) == len(ids), ids
        wire = server.stub(protos.BUNDLE).GetBundle(
            protos.messages(protos.BUNDLE).GetBundleRequest(), timeout=10)
        assert [key.key_id for key in wire.wit_authorities] == [
            key["kid"] for key in keys if key["use"] == "wit-svid"]

    with s.check("every WIT-SVID and its authority are in the ledger"):
        prepared = ledger.of_type(server, "authority.prepared")
        assert "wit" in [leaf["authority_type"] for leaf in prepared], prepared
        tokens = [leaf for leaf in ledger.of_type(server, "svid.issued")
                  if leaf["svid_type"] == "wit"]
        assert len(tokens) >= 8, len(tokens)
        assert all("key_thumbprint" in leaf and "signing_input_digest" in leaf
                   for leaf in tokens), tokens[0]


def fetching(s, server, agent):
    server.create_entry("one", agent.id, own_selectors(), "-hint", "first")
    server.create_entry("two", agent.id, own_selectors())
    other = Workload(s, "other")
    server.create_entry("other", agent.id, other.selectors)

    def both():
        try:
            return len(fetch(agent)) == 2
        except grpc.RpcError:
            return False
    wait_until("both identities", both, 20)

    with s.check("WAPI-43, WAPI-44, WAPI-45: all identities, each with a key of its own that fits cnf"):
        svids = fetch(agent)
        assert {svid.spiffe_id for svid in svids} == {server.id("one"), server.id("two")}
        assert sorted(svid.hint for svid in svids) == ["", "first"]
        jwks = json.loads(fetch_bundles(agent)["spiffe://example.org"])
        for svid in svids:
            claims = check_token(svid.wit_svid, svid.spiffe_id, jwks["keys"])
            check_key(svid.wit_svid_key, claims)
        assert len({json.loads(svid.wit_svid_key)["d"] for svid in svids}) == 2

    with s.check("WIT-25: an instance of the same workload gets the same"):
        again = {svid.spiffe_id: svid.wit_svid for svid in fetch(agent)}
        assert again == {svid.spiffe_id: svid.wit_svid for svid in svids}

    with s.check("WAPI-43: only the identity that is named; WAPI-26: another workload's is denied"):
        (svid,) = fetch(agent, server.id("two"))
        assert svid.spiffe_id == server.id("two")
        assert code(lambda: fetch(agent, server.id("other"))) == grpc.StatusCode.PERMISSION_DENIED
        assert code(lambda: fetch(agent, "nonsense")) == grpc.StatusCode.INVALID_ARGUMENT
        assert code(lambda: fetch(agent, metadata=())) == grpc.StatusCode.INVALID_ARGUMENT
        assert code(lambda: fetch_bundles(agent, metadata=())) == grpc.StatusCode.INVALID_ARGUMENT

    with s.check("WAPI-46, WIT-34: WIT bundles have WIT keys only, JWT bundles none of them"):
        bundles = fetch_bundles(agent)
        assert set(bundles) == {"spiffe://example.org"}, bundles
        wit = {key["kid"] for key in json.loads(bundles["spiffe://example.org"])["keys"]}
        assert wit == {key["kid"] for key in published(server) if key["use"] == "wit-svid"}
        call = agent.workload_api().FetchJWTBundles(
            messages().JWTBundlesRequest(), metadata=protos.HEADER, timeout=15)
        answer = json.loads(next(call).bundles["spiffe://example.org"])
        call.cancel()
        assert not wit & {key["kid"] for key in answer["keys"]}, answer


def rotation(s):
    server = Server(s, "rotating", experimental=ON, ca_ttl="40s", default_x509_svid_ttl="20s",
                    agent_ttl="20s").start()
    agent = Agent(s, server, "rotating-agent", experimental=ON).start()
    server.create_entry("kept", agent.id, own_selectors())
    api = agent.workload_api()
    svids = Watch(api.FetchWITSVID(messages().WITSVIDRequest(), metadata=protos.HEADER))
    bundles = Watch(api.FetchWITBundles(messages().WITBundlesRequest(), metadata=protos.HEADER))
    with s.check("WIT-04, WAPI-10: streams hear of renewed WIT-SVIDs and of a new authority in time"):
        keys = {}
        kids, secrets, tokens = [], set(), 0
        end = time.monotonic() + 75
        while time.monotonic() < end and (len(kids) < 2 or tokens < 3):
            svid = svids.next(60).svids[0]
            while True:  # what was published until now
                try:
                    update = bundles.next(0.5 if keys else 20)
                except AssertionError:
                    break
                for key in json.loads(update.bundles["spiffe://example.org"])["keys"]:
                    keys[key["kid"]] = key
            claims = check_token(svid.wit_svid, server.id("kept"), list(keys.values()))
            check_key(svid.wit_svid_key, claims)
            kid = jwt.get_unverified_header(svid.wit_svid)["kid"]
            if kid not in kids:
                kids.append(kid)
            secrets.add(json.loads(svid.wit_svid_key)["d"])
            tokens += 1
            assert claims["exp"] > time.time(), "an expired WIT-SVID was sent"
        assert len(kids) >= 2 and tokens >= 3, (kids, tokens)
        assert len(secrets) == tokens, "a key was used for two WIT-SVIDs"
        s.note(f"{tokens} WIT-SVIDs by {len(kids)} authorities")
    with s.check("WAPI-26: the last identity goes away, and both streams end"):
        for entry in server.entries():
            if entry["spiffe_id"]["path"] == "/kept":
                server.delete_entry(entry["id"])
        assert svids.ended.wait(15) and bundles.ended.wait(15)
        assert svids.end == bundles.end == grpc.StatusCode.PERMISSION_DENIED, (svids.end, bundles.end)
    agent.stop()
    server.stop()


def switched_off(s):
    server = Server(s, "plain").start()
    agent = Agent(s, server, "plain-agent").start()
    # The agent has the flag, its server has not.
    eager = Agent(s, server, "eager-agent", experimental=ON).start()
    with s.check("STB-01: without the flag no WIT-SVID is minted and no key published"):
        done = server.cli("wit", "mint", "-spiffeID", server.id("x"))
        assert done.returncode == 1 and "nimplemented" in done.stderr, done
        assert all(key["use"] != "wit-svid" for key in published(server))
    with s.check("WAPI-03, STB-01: both methods are UNIMPLEMENTED, on either side of the flag"):
        for one in (agent, eager):
            server.create_entry("x", one.id, own_selectors())
            assert code(lambda: fetch(one)) == grpc.StatusCode.UNIMPLEMENTED
            assert code(lambda: fetch_bundles(one)) == grpc.StatusCode.UNIMPLEMENTED
    with s.check("an unknown feature flag is an error"):
        server.stop()
        server.write_config(experimental={"feature_flags": ["wit-svd"]})
        server.launch()
        wait_until("the server has ended", lambda: not server.daemon.alive, 20)
        assert server.daemon.exit_code == 1, server.daemon.exit_code
        assert 'did you mean "wit-svid"?' in server.daemon.log(), server.daemon.log_tail()


def body(s):
    server = Server(s, experimental=ON).start()
    agent = Agent(s, server, experimental=ON).start()
    minting(s, server)
    fetching(s, server, agent)
    with s.check("WIT-04: a restart goes on with the same key"):
        before = [key for key in published(server) if key["use"] == "wit-svid"]
        server.restart()
        assert [key for key in published(server) if key["use"] == "wit-svid"] == before
        token = server.ok("wit", "mint", "-spiffeID", server.id("minted")).split("\n")[0]
        assert jwt.get_unverified_header(token)["kid"] == before[0]["kid"]
    agent.stop()
    server.stop()
    rotation(s)
    switched_off(s)


main(__file__, body)
