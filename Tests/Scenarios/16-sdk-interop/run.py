"""The Swift SDK and software of others: mTLS, gRPC, PEM files, JWT-SVIDs, JWK Sets, both ways."""
import json
import os
import stat
import time

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from harness import Agent, Server, Workload, free_port, main, run, wait_until
from harness.sdk_peer import SwiftPeer, lines, listening

AUDIENCE = "reports"


def body(s):
    server = Server(s, default_x509_svid_ttl="10m", default_jwt_svid_ttl="5m").start()
    agent = Agent(s, server).start()
    swift, other_swift = SwiftPeer(s, agent, "swift"), SwiftPeer(s, agent, "other-swift")
    python, other_python = Workload(s, "python"), Workload(s, "other-python")
    server.create_entry("swift", agent.id, swift.selectors, "-dns", "peer.example.org")
    server.create_entry("other-swift", agent.id, other_swift.selectors)
    server.create_entry("python", agent.id, python.selectors)
    server.create_entry("other-python", agent.id, other_python.selectors)
    mutual_tls(s, server, agent, swift, other_swift, python, other_python)
    grpc_calls(s, server, agent, swift, other_swift, python, other_python)
    pem_files(s, server, swift, python, agent)
    tokens(s, server, swift)


def mutual_tls(s, server, agent, swift, other_swift, python, other_python):
    port = free_port()
    listener = listening(swift.start("listen", port, server.id("python")))

    with s.check("a Python client and a Swift server know each other"):
        done = python.run("sdk_counterpart.py", "connect", agent.address, port, server.id("swift"))
        assert done == {"peer": server.id("swift"), "answer": "ping\n", "version": "TLSv1.3"}, done
        assert lines(listener, "peer") == [server.id("python")], listener.log_tail()

    with s.check("a Python client that is not authorized gets no answer, and the server says why"):
        done = other_python.run(
            "sdk_counterpart.py", "connect", agent.address, port, server.id("swift"))
        assert not done.get("answer"), done
        # Python hangs up without TLS's farewell, which is told as well.
        wait_until("the refusal is told", lambda: any(
            "other-python is not authorized" in line for line in lines(listener, "refused")), 10)
        assert lines(listener, "peer") == [server.id("python")]
    listener.stop()

    port = free_port()
    listener = listening(
        python.start("sdk_counterpart.py", "listen", agent.address, port, server.id("swift")))

    with s.check("a Swift client and a Python server know each other"):
        done = swift.run("connect", port, server.id("python"))
        assert done == {"peer": server.id("python"), "answer": "ping\n"}, done
        assert lines(listener, "peer") == [server.id("swift")], listener.log_tail()

    with s.check("a Swift client refuses a Python server that is not the one it wants"):
        done = swift.run("connect", port, server.id("other-python"))
        assert f"{server.id('python')} is not authorized" in done["error"], done

    with s.check("a Python server refuses a Swift client that is not the one it wants"):
        done = other_swift.run("connect", port, server.id("python"))
        assert not done.get("answer"), done
    listener.stop()


def grpc_calls(s, server, agent, swift, other_swift, python, other_python):
    port = free_port()
    listener = listening(swift.start("grpc-serve", port, server.id("python")))

    with s.check("grpcio calls a Swift server, whose handler knows the caller"):
        done = python.run("sdk_counterpart.py", "grpc-call", agent.address, port)
        assert done == {"answer": server.id("python")}, done

    with s.check("grpcio with another identity makes no call"):
        done = other_python.run("sdk_counterpart.py", "grpc-call", agent.address, port)
        assert done == {"code": "UNAVAILABLE"}, done
        assert "other-python is not authorized" in lines(listener, "refused")[0]
    listener.stop()

    port = free_port()
    listener = listening(python.start("sdk_counterpart.py", "grpc-serve", agent.address, port))

    with s.check("a Swift client calls grpcio, whose handler knows the caller and gets its token"):
        done = swift.run("grpc-call", port, server.id("python"), AUDIENCE)
        assert server.id("swift") in done["answer"].split(","), done
        (header,) = lines(listener, "authorization")
        scheme, token = header.split(" ")
        assert scheme == "Bearer", scheme
        keys = jwt.PyJWKSet.from_json(server.ok("bundle", "show", "-format", "spiffe"))
        key = next(one for one in keys.keys if one.key_id == jwt.get_unverified_header(token)["kid"])
        claims = jwt.decode(token, key.key, algorithms=["ES256"], audience=AUDIENCE)
        assert claims["sub"] == server.id("swift"), claims

    with s.check("a Swift client sends neither call nor token to a server that it does not want"):
        done = swift.run("grpc-call", port, server.id("other-python"), AUDIENCE)
        assert "error" in done, done
        assert len(lines(listener, "authorization")) == 1
    listener.stop()


def pem_files(s, server, swift, python, agent):
    folder = s.path("pem", "identity")
    os.chmod(os.path.dirname(folder), 0o777)
    writer = swift.start("pem", folder)
    wait_until("the files are written", lambda: lines(writer, "written"), 30)
    svid, key, bundle = (f"{folder}/{name}.pem" for name in ("svid", "key", "bundle"))

    with s.check("openssl verifies the files, and the key is its owner's alone"):
        done = run(["openssl", "verify", "-x509_strict", "-CAfile", bundle, svid])
        assert done.returncode == 0, done.stdout + done.stderr
        mode = stat.S_IMODE(os.stat(key).st_mode)
        assert mode == 0o600, oct(mode)

    with s.check("openssl s_client talks to a Swift server with them"):
        port = free_port()
        listener = listening(swift.start("listen", port, server.id("swift")))
        done = run(["sh", "-c", '(echo ping; sleep 1) | exec "$@"', "sh", "openssl", "s_client", "-connect",
                    f"127.0.0.1:{port}", "-cert", svid, "-key", key, "-CAfile", bundle,
                    "-verify_return_error", "-quiet", "-no_ign_eof"], timeout=30)
        assert "ping" in done.stdout, done.stdout + done.stderr
        assert lines(listener, "peer") == [server.id("swift")], listener.log_tail()
        listener.stop()

    with s.check("a Swift client talks to openssl s_server with them"):
        port = free_port()
        daemon = s.daemon("s_server", [
            "openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", svid, "-key", key,
            "-CAfile", bundle, "-Verify", "3", "-verify_return_error", "-tls1_3", "-rev"])
        wait_until("openssl listens", lambda: "ACCEPT" in daemon.log(), 10)
        done = swift.run("connect", port, server.id("swift"))
        assert done == {"peer": server.id("swift"), "answer": "gnip\n"}, done
        done = swift.run("connect", port, server.id("python"))
        assert "is not authorized" in done["error"], done
        daemon.stop()

    with s.check("the files are renewed, and gone when the identity is"):
        before = os.readlink(f"{folder}/.current")
        entry = next(one for one in server.entries() if one["spiffe_id"]["path"] == "/swift")
        server.delete_entry(entry["id"])
        wait_until("the files are gone", lambda: not os.path.lexists(svid), 30)
        assert os.listdir(folder) == [], os.listdir(folder)
        server.create_entry("swift", server_parent(entry), swift.selectors, "-dns",
                            "peer.example.org")
        wait_until("the files are back", lambda: os.path.exists(svid), 60)
        assert os.readlink(f"{folder}/.current") != before
    writer.stop()


def server_parent(entry):
    return f"spiffe://{entry['parent_id']['trust_domain']}{entry['parent_id']['path']}"


def tokens(s, server, swift):
    with s.check("PyJWT accepts a token that the SDK fetched, with the JWK Set that the SDK writes"):
        got = swift.run("jwt-fetch", AUDIENCE)
        keys = jwt.PyJWKSet.from_json(got["jwks"])
        kid = jwt.get_unverified_header(got["token"])["kid"]
        key = next(one for one in keys.keys if one.key_id == kid)
        claims = jwt.decode(got["token"], key.key, algorithms=["ES256"], audience=AUDIENCE)
        assert claims["sub"] == got["id"] == server.id("swift"), claims

    with s.check("the SDK and the Workload API find the same token valid, and for nobody else"):
        done = swift.run("jwt-check", AUDIENCE, got["token"])
        assert done == {"id": server.id("swift"), "workload_api": server.id("swift")}, done
        done = swift.run("jwt-check", "another", got["token"])
        assert "another" in done["error"], done

    made = {
        "ES256": ec.generate_private_key(ec.SECP256R1()),
        "ES384": ec.generate_private_key(ec.SECP384R1()),
        "ES512": ec.generate_private_key(ec.SECP521R1()),
        "RS256": rsa.generate_private_key(65537, 2048),
        "PS384": rsa.generate_private_key(65537, 3072),
    }
    key_set = {"keys": []}
    for name, private in made.items():
        algorithm = jwt.get_algorithm_by_name(name)
        key_set["keys"].append(
            {**algorithm.to_jwk(private.public_key(), as_dict=True), "kid": name,
             "use": "jwt-svid"})
    path = s.path("foreign.jwks")
    with open(path, "w", encoding="utf-8") as file:
        json.dump(key_set, file)

    def token(name, **changes):
        now = int(time.time())
        claims = {"sub": "spiffe://partner.test/web", "aud": [AUDIENCE], "exp": now + 300,
                  "iat": now, **changes}
        return jwt.encode(claims, made[name], algorithm=name, headers={"kid": name})

    with s.check("the SDK accepts tokens and a JWK Set that Python made, of five algorithms"):
        for name in made:
            done = swift.run("jwks-check", "partner.test", path, AUDIENCE, token(name))
            assert done.get("id") == "spiffe://partner.test/web", (name, done)
            assert done["keys"] == len(made), done

    with s.check("PyJWT reads the JWK Set that the SDK has written from it"):
        again = jwt.PyJWKSet.from_json(done["jwks"])
        assert {one.key_id for one in again.keys} == set(made)
        for one in again.keys:
            claims = jwt.decode(token(one.key_id), one.key, algorithms=[one.key_id],
                                audience=AUDIENCE)
            assert claims["sub"] == "spiffe://partner.test/web"

    with s.check("the SDK refuses tokens of another key, audience, trust domain or time"):
        now = int(time.time())
        forged = jwt.encode(
            {"sub": "spiffe://partner.test/web", "aud": [AUDIENCE], "exp": now + 300},
            ec.generate_private_key(ec.SECP256R1()), algorithm="ES256", headers={"kid": "ES256"})
        for bad in (forged, token("ES256", aud=["another"]), token("ES256", exp=now - 3600),
                    token("ES256", sub="spiffe://example.org/web")):
            done = swift.run("jwks-check", "partner.test", path, AUDIENCE, bad)
            assert "error" in done and "id" not in done, done


main(__file__, body)
