"""Stock clients get X509- and JWT-SVIDs; openssl, cryptography and PyJWT accept them."""
import base64
import json
import time

import jwt
from cryptography import x509
from harness import Agent, Server, Workload, binary, certificates, main, own_selectors, run


def body(s):
    # With SPIRE's rate limits, as an operator would have them.
    server = Server(s, default_x509_svid_ttl="10m", default_jwt_svid_ttl="3m", ratelimit=None).start()
    agent = Agent(s, server).start()
    stock, plain, nobody = (Workload(s, name) for name in ("stock", "plain", "nobody"))
    server.create_entry("stock", agent.id, stock.selectors)
    server.create_entry(
        "plain", agent.id, plain.selectors, "-dns", "plain.example.org", "-dns", "alias.example.org",
        "-x509SVIDTTL", 120, "-hint", "inside")
    stock_id, plain_id = server.id("stock"), server.id("plain")

    got = {}
    with s.check("WAPI-01, WEP-02: PyPI spiffe fetches SVIDs and bundles and validates a token"):
        got = stock.run("stock_spiffe.py", agent.address, "spiffe://example.org/audience")
        assert [svid["id"] for svid in got["svids"]] == [stock_id], got["svids"]
        assert got["source"] == stock_id and got["jwt_source"] == stock_id
        assert got["validated"] == stock_id
        assert got["x509_bundles"] == ["example.org"], got["x509_bundles"]
        assert [token["id"] for token in got["tokens"]] == [stock_id]

    with s.check("openssl verify accepts the chain"):
        svid, roots = got["svids"][0], got["bundles"]["example.org"]
        for name, text in (("leaf.pem", svid["chain"][0]), ("roots.pem", "".join(roots)),
                           ("rest.pem", "".join(svid["chain"][1:]))):
            with open(s.path(name), "w", encoding="utf-8") as file:
                file.write(text)
        words = ["openssl", "verify", "-x509_strict", "-purpose", "sslclient", "-CAfile",
                 s.path("roots.pem")]
        if svid["chain"][1:]:
            words += ["-untrusted", s.path("rest.pem")]
        done = run([*words, s.path("leaf.pem")])
        assert done.returncode == 0, done.stdout + done.stderr
        done = run(["openssl", "verify", "-purpose", "sslserver", "-CAfile", s.path("roots.pem"),
                    s.path("leaf.pem")])
        assert done.returncode == 0, done.stdout + done.stderr

    with s.check("X509-01, 05, 07, 09, 12, 15, 17, 19 and 20: cryptography agrees about the leaf"):
        leaf = x509.load_pem_x509_certificate(got["svids"][0]["chain"][0].encode())
        certificates.check_leaf(leaf, stock_id)
        life = (leaf.not_valid_after_utc - leaf.not_valid_before_utc).total_seconds()
        assert 590 <= life <= 640, f"lifetime of {life} s at a TTL of 600 s"
        assert leaf.not_valid_before_utc.timestamp() < time.time()
        assert certificates.key_kind(leaf.public_key()) == "ec-secp256r1"

    with s.check("X509-11 to X509-14, X509-24 to X509-26, X509-36: and about the authority"):
        for text in got["bundles"]["example.org"]:
            root = x509.load_pem_x509_certificate(text.encode())
            certificates.check_authority(root, "example.org")
            root.verify_directly_issued_by(root)
        leaf.verify_directly_issued_by(root)

    with s.check("JWT-01, 07, 09 to 11, 13, 16, 17: PyJWT verifies the token with the published key"):
        token = got["tokens"][0]["token"]
        header, claims = certificates.token_parts(token)
        assert set(header) <= {"alg", "kid", "typ"}, header
        assert header["typ"] == "JWT" and header["alg"] == "ES256", header
        assert header["kid"] in got["jwt_authorities"]["example.org"]
        bundle = json.loads(server.ok("bundle", "show", "-format", "spiffe"))
        key = next(key for key in bundle["keys"] if key.get("kid") == header["kid"])
        assert key["use"] == "jwt-svid", key
        verified = jwt.decode(
            token, jwt.PyJWK(key, algorithm="ES256").key, algorithms=["ES256"],
            audience="spiffe://example.org/audience")
        assert verified["sub"] == stock_id
        assert verified["aud"] == ["spiffe://example.org/audience"], verified["aud"]
        assert 170 <= verified["exp"] - verified["iat"] <= 185, verified
        assert all(isinstance(claims[name], int) for name in ("exp", "iat")), claims

    with s.check("BND-05, BND-09, BND-16, X509-33, X509-34, JWT-27, STB-01: the SPIFFE bundle"):
        assert set(key["use"] for key in bundle["keys"]) == {"x509-svid", "jwt-svid"}
        assert isinstance(bundle.get("spiffe_sequence"), int), bundle.keys()
        assert bundle.get("spiffe_refresh_hint", 0) > 0, bundle.keys()
        for key in bundle["keys"]:
            if key["use"] == "x509-svid":
                assert "kid" not in key, "X509-33"
                assert len(key["x5c"]) == 1, "X509-34"
                base64.b64decode(key["x5c"][0], validate=True)
            else:
                assert key["kid"] and "x5c" not in key, "JWT-27, WAPI-38"

    with s.check("plain grpcio gets an identity with hint, DNS names and its own TTL"):
        message = plain.run("plain_grpc.py", agent.address, "fetch-x509")
        assert "svids" in message, message
        (svid,) = message["svids"]
        assert (svid["id"], svid["hint"]) == (plain_id, "inside"), (svid["id"], svid["hint"])
        chain = certificates.load_chain(base64.b64decode(svid["chain"]))
        certificates.check_leaf(chain[0], plain_id)
        assert certificates.dns_sans(chain[0]) == ["plain.example.org", "alias.example.org"]
        life = (chain[0].not_valid_after_utc - chain[0].not_valid_before_utc).total_seconds()
        assert 110 <= life <= 140, f"lifetime of {life} s at a TTL of 120 s"
        assert certificates.same_key(chain[0], base64.b64decode(svid["key"])), "WAPI-19"
        (root, *_) = certificates.load_chain(base64.b64decode(svid["bundle"]))
        assert root.fingerprint(chain[0].signature_hash_algorithm)  # parses as a certificate

    with s.check("plain grpcio gets a JWT-SVID for its ID, and none for another one"):
        (token,) = plain.run("plain_grpc.py", agent.address, "fetch-jwt", "a", plain_id)
        assert token["id"] == plain_id
        refused = plain.run("plain_grpc.py", agent.address, "fetch-jwt", "a", stock_id)
        assert refused["code"] == "PERMISSION_DENIED", refused

    with s.check("WEP-18: a process without an entry is refused with PERMISSION_DENIED"):
        refused = nobody.run("plain_grpc.py", agent.address, "fetch-x509")
        assert refused == {"code": "PERMISSION_DENIED", "details": "no identity issued"}, refused

    with s.check("the agent's command line writes files that openssl accepts"):
        folder = s.path("written", "x")[:-2]
        server.create_entry("cli", agent.id, own_selectors(binary("cygnet-agent")))
        done = agent.cli("api", "fetch", "x509", "-write", folder, "-timeout", "10s", check=True)
        assert "Received 1 svid" in done.stdout, done.stdout
        done = run(["openssl", "verify", "-CAfile", f"{folder}/bundle.0.pem",
                    f"{folder}/svid.0.pem"])
        assert done.returncode == 0, done.stdout + done.stderr
        done = agent.cli("api", "fetch", "jwt", "-audience", "one,two", "-timeout", "10s",
                         check=True)
        token = next(line.strip() for line in done.stdout.split("\n") if line.count(".") == 2
                     and line.strip().startswith("ey"))
        _, claims = certificates.token_parts(token)
        assert sorted(claims["aud"]) == ["one", "two"], claims
        done = agent.cli("api", "validate", "jwt", "-audience", "one", "-svid", token)
        assert done.returncode == 0 and "SVID is valid." in done.stdout, done.stdout + done.stderr
        done = agent.cli("api", "validate", "jwt", "-audience", "three", "-svid", token)
        assert done.returncode == 1, done.stdout

    with s.check("other key types: P-384 and RSA-2048 authorities"):
        for kind, algorithm, expected in (("ec-p384", "ES384", "ec-secp384r1"),
                                          ("rsa-2048", "RS256", "rsa-2048")):
            other = Server(s, name=f"server-{kind}", ca_key_type=kind).start()
            text = other.ok("x509", "mint", "-spiffeID", other.id("w"))
            blocks = x509.load_pem_x509_certificates(text.encode())
            assert certificates.key_kind(blocks[-1].public_key()) == expected
            blocks[0].verify_directly_issued_by(blocks[-1])
            token = other.ok("jwt", "mint", "-spiffeID", other.id("w"), "-audience", "a").strip()
            header, _ = certificates.token_parts(token)
            assert header["alg"] == algorithm, header
            other.stop()


main(__file__, body)
