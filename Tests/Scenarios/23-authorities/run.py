"""Authorities taken back: prepare, activate, taint, revoke, with kill -9 in between and restarts."""
import base64
import json
import os
import time

from cryptography import x509
from harness import Agent, Server, Workload, main, own_selectors, run, wait_until
from harness.certificates import load_chain, pem, token_parts
from harness import ledger
from harness.streams import watch_x509, watch_x509_until

RESTARTS = 200 if os.environ.get("CYGNET_LONG") == "1" else 20
ON = {"feature_flags": ["wit-svid"]}


def state(server, kind):
    return server.json("localauthority", kind, "show")


def active(server, kind):
    return state(server, kind)["active"]["authority_id"]


def act(server, kind, verb, authority_id=None):
    """Runs a command and returns the ID of the authority that it names."""
    words = ["localauthority", kind, verb]
    if authority_id:
        words += ["-authorityID", authority_id]
    (answer,) = server.json(*words).values()
    return answer["authority_id"]


def key_id(certificate, kind):
    extension = certificate.extensions.get_extension_for_class(kind).value
    return (extension.digest if kind is x509.SubjectKeyIdentifier
            else extension.key_identifier).hex()


def signer(certificate):
    """ID of the authority that signed a leaf."""
    return key_id(certificate, x509.AuthorityKeyIdentifier)


def roots(server):
    return x509.load_pem_x509_certificates(server.bundle_pem().encode())


def published(server):
    """IDs of the X.509 authorities in the bundle."""
    return [key_id(root, x509.SubjectKeyIdentifier) for root in roots(server)]


def jwks(server, use):
    keys = json.loads(server.ok("bundle", "show", "-format", "spiffe"))["keys"]
    return [key["kid"] for key in keys if key["use"] == use]


def openssl_verify(s, leaf, trusted):
    """Whether openssl accepts the leaf with these roots alone."""
    leaf_path, roots_path = s.path("verify", "leaf.pem"), s.path("verify", "roots.pem")
    with open(leaf_path, "w", encoding="utf-8") as file:
        file.write(pem(leaf))
    with open(roots_path, "w", encoding="utf-8") as file:
        file.write("".join(pem(root) for root in trusted))
    # Only these roots, as X509-SVID validation wants it; the URI SAN is none of openssl's business.
    return run(["openssl", "verify", "-no-CApath", "-no-CAstore", "-CAfile", roots_path,
                leaf_path]).returncode == 0


def check_update(s, message):
    """Every SVID of an update verifies with the bundle that came with it."""
    for svid in message.svids:
        leaf = load_chain(svid.x509_svid)[0]
        assert openssl_verify(s, leaf, load_chain(svid.bundle)), "an SVID that its bundle cannot verify"
    return load_chain(message.svids[0].x509_svid)[0]


def server_leaf(server):
    done = run(["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-alpn", "h2",
                "-showcerts"], input="", timeout=15)
    return x509.load_pem_x509_certificates(done.stdout.encode())[0]


def agent_serial(server, agent):
    return server.json("agent", "show", "-spiffeID", agent.id)["x509svid_serial_number"]



def key_names(server):
    """The authorities' keys; the ledger has one of its own."""
    with open(server.keys, encoding="utf-8") as file:
        return sorted(set(json.load(file)["keys"]) - {"ledger"})


def command_line(s, server):
    with s.check("localauthority show: blocks and JSON, as scripts of SPIRE's know them"):
        text = server.ok("localauthority", "x509", "show")
        assert text.startswith("Active X.509 authority:\n  Authority ID: "), text
        assert "  Expires at: " in text and " +0000 UTC\n" in text, text
        assert "  Upstream authority ID: No upstream authority\n" in text, text
        assert "Prepared X.509 authority:\n  No prepared X.509 authority found\n" in text, text
        assert "Old X.509 authority:\n  No old X.509 authority found\n" in text, text
        assert active(server, "x509") in published(server)
        assert [active(server, "jwt")] == jwks(server, "jwt-svid")
        assert [active(server, "wit")] == jwks(server, "wit-svid")

    with s.check("what cannot be is refused with exit code 1 and a reason"):
        for kind in ("x509", "jwt", "wit"):
            for verb in ("activate", "taint", "revoke"):
                for words in ([], ["-authorityID", ""], ["-authorityID", "nonsense"],
                              ["-authorityID", active(server, kind)]):
                    done = server.cli("localauthority", kind, verb, *words)
                    assert done.returncode == 1 and not done.stdout, (kind, verb, words, done)
                    assert done.stderr.startswith("Error: "), done.stderr
        for verb in ("taint", "revoke"):
            done = server.cli("upstreamauthority", verb, "-subjectKeyID", "ab")
            assert done.returncode == 1 and "no upstream authority is configured" in done.stderr, done


def replace_x509(s, server, agent, workload):
    first = active(server, "x509")
    watch = watch_x509(agent.workload_api())
    assert signer(check_update(s, watch.next(20))) == first
    before = agent_serial(server, agent)

    with s.check("a prepared authority is in the bundle of workloads, and signs nothing"):
        second = act(server, "x509", "prepare")
        assert second != first and sorted(published(server)) == sorted([first, second])
        update = watch.until(lambda one: len(load_chain(one.svids[0].bundle)) == 2, 10)
        assert signer(check_update(s, update)) == first

    with s.check("activated, it signs; what was signed before stays valid"):
        assert act(server, "x509", "activate", second) == second
        shown = state(server, "x509")
        assert shown["active"]["authority_id"] == second and shown["old"]["authority_id"] == first
        minted = server.json("x509", "mint", "-spiffeID", server.id("minted"))
        leaf = load_chain(base64.b64decode(minted["x509_svid"][0]))[0]
        assert signer(leaf) == second
        assert signer(server_leaf(server)) == first, "nothing is replaced yet"

    with s.check("an authority that is not tainted cannot be revoked"):
        done = server.cli("localauthority", "x509", "revoke", "-authorityID", first)
        assert done.returncode == 1 and "taint it first" in done.stderr, done

    with s.check("tainted: server, agent and workloads get new SVIDs at once"):
        begun = time.monotonic()
        assert act(server, "x509", "taint", first) == first
        assert signer(server_leaf(server)) == second, "the server's own SVID is not replaced"
        update = watch.until(
            lambda one: signer(load_chain(one.svids[0].x509_svid)[0]) == second, 20)
        s.note(f"workload had its new SVID {time.monotonic() - begun:.2f} s after the taint")
        assert signer(check_update(s, update)) == second
        wait_until("the agent's SVID is renewed",
                   lambda: agent_serial(server, agent) != before, 20)
        assert server.json("agent", "count")["count"] == 1, "the agent attested anew"

    with s.check("revoked: gone from all bundles, and nothing rests on it"):
        assert act(server, "x509", "revoke", first) == first
        assert published(server) == [second]
        update = watch.until(lambda one: len(load_chain(one.svids[0].bundle)) == 1, 10)
        leaf = check_update(s, update)
        assert signer(leaf) == second and openssl_verify(s, leaf, roots(server))
        assert len(key_names(server)) == 3, key_names(server)

    with s.check("the stock spiffe client has an SVID that openssl verifies with the new bundle alone"):
        result = workload.run("stock_spiffe.py", agent.address, "audience")
        leaf = x509.load_pem_x509_certificate(result["svids"][0]["chain"][0].encode())
        assert openssl_verify(s, leaf, roots(server))
        assert len(result["bundles"]["example.org"]) == 1, result["bundles"]
    watch.cancel()


def replace_keys(s, server, agent, workload):
    def token():
        (answer,) = workload.run("plain_grpc.py", agent.address, "fetch-jwt", "a")
        return answer["token"]

    for kind, use in (("jwt", "jwt-svid"), ("wit", "wit-svid")):
        with s.check(f"the {kind.upper()} authority is replaced; what agents hold of the old one is dropped"):
            first = active(server, kind)
            held = token() if kind == "jwt" else None
            second = act(server, kind, "prepare")
            assert sorted(jwks(server, use)) == sorted([first, second])
            assert act(server, kind, "activate", second) == second
            if held:
                assert token() == held, "a token that is still good is kept"
            act(server, kind, "taint", first)
            if held:
                wait_until("the agent gives tokens of the new authority", lambda: token_parts(
                    token())[0]["kid"] == second, 15)
            act(server, kind, "revoke", first)
            assert jwks(server, use) == [second]
            if held:
                def refused():
                    done = workload.run(
                        "plain_grpc.py", agent.address, "validate", "a", held)
                    return done.get("code") == "INVALID_ARGUMENT"
                wait_until("a token of the revoked authority is refused", refused, 15)

    with s.check("each change is in the ledger, with who asked"):
        asked = [leaf for leaf in ledger.leaves(server) if leaf["type"].startswith("authority.")
                 and leaf["caller"].startswith("uid:")]
        for kind in ("x509", "jwt", "wit"):
            steps = [leaf["type"].split(".")[1] for leaf in asked
                     if leaf["authority_type"] == kind]
            assert steps == ["prepared", "activated", "retired", "tainted", "revoked"], (
                kind, steps)


def crashes(s, server, agent):
    """kill -9 after each step, of the server and now and then of the agent, and on with what is found."""
    with s.check("kill -9 between the steps: the next start continues, and the agent stays"):
        first = active(server, "x509")
        second = act(server, "x509", "prepare")
        server.kill()
        server.start()
        assert state(server, "x509")["prepared"]["authority_id"] == second
        assert sorted(published(server)) == sorted([first, second])
        act(server, "x509", "activate", second)
        server.kill()
        agent.kill()
        server.start()
        agent.start()
        shown = state(server, "x509")
        assert shown["active"]["authority_id"] == second and shown["old"]["authority_id"] == first
        act(server, "x509", "taint", first)
        server.kill()
        server.start()
        watch, update = watch_x509_until(
            agent.workload_api(),
            lambda one: signer(load_chain(one.svids[0].x509_svid)[0]) == second, 40)
        check_update(s, update)
        assert signer(server_leaf(server)) == second
        watch.cancel()
        act(server, "x509", "revoke", first)
        server.kill()
        server.start()
        assert published(server) == [second] and active(server, "x509") == second
        assert len(key_names(server)) == 3, key_names(server)
        wait_until("the agent is connected with an SVID of the new authority", lambda: agent.healthy(), 20)
        assert server.json("agent", "count")["count"] == 1

    with s.check("killed while the command runs: before or after, nothing in between"):
        for pause in (0.0, 0.005, 0.01, 0.02, 0.04, 0.08):
            before = state(server, "x509")
            command = s.daemon("prepare", [
                *_binary(), "localauthority", "x509", "prepare", "-socketPath", server.socket])
            time.sleep(pause)
            server.kill()
            wait_until("the command has ended", lambda: not command.alive, 30)
            server.start()
            after = state(server, "x509")
            assert after["active"] == before["active"], (before, after)
            ids = [one["authority_id"] for one in after.values()]
            assert sorted(published(server)) == sorted(ids), (published(server), ids)
            assert len(key_names(server)) == len(ids) + 2, (key_names(server), ids)


def _binary():
    from harness.cluster import binary
    return [binary("cygnet-server")]


def restarts(s, server, agent):
    with s.check(f"{RESTARTS} restarts: the same authorities and the same number of keys"):
        act(server, "x509", "prepare")
        keys, ids = key_names(server), published(server)
        for number in range(RESTARTS):
            if number % 2:
                server.kill()
                server.start()
            else:
                server.restart()
            assert key_names(server) == keys, (number, key_names(server))
        assert published(server) == ids

    with s.check("after all this the agent serves as before"):
        watch = watch_x509(agent.workload_api())
        leaf = check_update(s, watch.next(20))
        assert openssl_verify(s, leaf, roots(server))
        watch.cancel()


def body(s):
    server = Server(s, experimental=ON).start()
    agent = Agent(s, server, experimental=ON).start()
    workload = Workload(s, "workload")
    server.create_entry("workload", agent.id, workload.selectors)
    server.create_entry("own", agent.id, own_selectors())
    wait_until("the workload is served", lambda: "svids" in workload.run(
        "plain_grpc.py", agent.address, "fetch-x509"))
    command_line(s, server)
    replace_x509(s, server, agent, workload)
    replace_keys(s, server, agent, workload)
    crashes(s, server, agent)
    restarts(s, server, agent)


main(__file__, body)
