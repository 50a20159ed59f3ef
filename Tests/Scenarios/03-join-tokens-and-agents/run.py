"""Join tokens have one winner; agents can be listed, banned, evicted and purged."""
import concurrent.futures
import time

import grpc
from harness import Agent, Server, Workload, attest, main, wait_until


def body(s):
    server = Server(s, agent_ttl="1h").start()
    agent = Agent(s, server).start()

    with s.check("a token admits one agent and no second one"):
        thief = Agent(s, server, name="thief").launch(agent.token)
        time.sleep(2)
        assert not thief.healthy(), "a used token admitted a second agent"
        thief.stop()
        assert server.json("agent", "count")["count"] == 1

    with s.check("an unknown token is refused"):
        code, text = attest.refused(server, "11111111-2222-3333-4444-555555555555")
        assert code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.PERMISSION_DENIED), (
            f"{code} {text}")

    with s.check("sixteen agents race for one token and one wins, ten times"):
        for _ in range(10):
            token = server.token()
            with concurrent.futures.ThreadPoolExecutor(16) as pool:
                results = list(pool.map(lambda _: attest.outcome(server, token), range(16)))
            winners = [result for result in results if result is None]
            assert len(winners) == 1, f"{len(winners)} winners: {results}"
        assert server.json("agent", "count")["count"] == 11

    with s.check("an expired token is refused, and stays refused"):
        token = server.token(ttl=1)
        time.sleep(2.5)
        for _ in range(2):
            code, text = attest.refused(server, token)
            assert code in (grpc.StatusCode.INVALID_ARGUMENT,
                            grpc.StatusCode.PERMISSION_DENIED), f"{code} {text}"
            assert token not in text, "the message shows the token"

    with s.check("tokens do not appear in the server's or the agent's log"):
        assert token not in server.daemon.log()
        for line in agent.daemon.log().split("\n"):
            if agent.token in line:
                # The ID of a join-token agent contains its token, which is used up by then.
                assert f"/spire/agent/join_token/{agent.token}" in line, line

    with s.check("bad attestation requests are INVALID_ARGUMENT"):
        for name, fields in (
                ("no type", {"kind": ""}), ("no payload", {"payload": b""}),
                ("no CSR", {"csr": b""}), ("a CSR of noise", {"csr": b"\x30\x03abc"})):
            code, text = attest.refused(server, server.token(), **fields)
            assert code == grpc.StatusCode.INVALID_ARGUMENT, f"{name}: {code} {text}"
        code, text = attest.refused(server, server.token(), kind="no_such_attestor")
        assert code == grpc.StatusCode.FAILED_PRECONDITION, f"unknown attestor: {code} {text}"

    with s.check("a token with a SPIFFE ID gives the agent an alias that entries can use"):
        token = server.token(spiffe_id=server.id("fleet/web"))
        second = Agent(s, server, name="second").start(token)
        workload = Workload(s, "behind-alias")
        server.create_entry("aliased", server.id("fleet/web"), workload.selectors)
        wait_until("the aliased entry is served", lambda: "svids" in workload.run(
            "plain_grpc.py", second.address, "fetch-x509"))
        second.stop()

    listing(s, server, agent)
    ban_and_evict(s, server)
    purge(s)


def listing(s, server, agent):
    with s.check("agent list, show and count agree"):
        text = server.ok("agent", "list")
        count = server.json("agent", "count")["count"]
        assert f"Found {count} attested agents" in text, text.split("\n")[0]
        for label in ("SPIFFE ID", "Attestation type", "Expiration time", "Serial number",
                      "Can re-attest"):
            assert f"{label:<18}: " in text, f"label {label!r} in {text[:600]!r}"
        listed = [one["id"] for one in server.json("agent", "list")["agents"]]
        assert len(listed) == count
        shown = server.json("agent", "show", "-spiffeID", agent.id)
        assert shown["attestation_type"] == "join_token", shown
        assert shown["can_reattest"] is False and shown["banned"] is False, shown
        assert server.json("agent", "count", "-attestationType", "join_token")["count"] == count
        assert server.json("agent", "count", "-attestationType", "x509pop")["count"] == 0
        assert server.json("agent", "count", "-banned", "true")["count"] == 0
        done = server.cli("agent", "show", "-spiffeID", server.id("spire/agent/none"))
        assert done.returncode == 1 and done.stderr.startswith("Error: "), done.stderr


def ban_and_evict(s, server):
    with s.check("a banned agent is cut off, keeps running and cannot return with its SVID"):
        agent = Agent(s, server, name="banned").start()
        workload = Workload(s, "on-banned")
        server.create_entry("on-banned", agent.id, workload.selectors)
        wait_until("the workload is served", lambda: "svids" in workload.run(
            "plain_grpc.py", agent.address, "fetch-x509"))
        assert "Agent banned successfully" in server.ok("agent", "ban", "-spiffeID", agent.id)
        shown = server.json("agent", "show", "-spiffeID", agent.id)
        assert shown["banned"] is True, shown
        assert "Banned" in server.ok("agent", "show", "-spiffeID", agent.id)
        assert server.json("agent", "count", "-banned", "true")["count"] == 1
        wait_until("the agent's log says that it was banned",
                   lambda: "ban" in agent.daemon.log().lower(), 20)
        assert agent.daemon.alive, "the agent ended; it never does for identity reasons"
        # A new entry for this node must not reach it.
        late = Workload(s, "late")
        server.create_entry("late", agent.id, late.selectors)
        time.sleep(1.5)
        refused = late.run("plain_grpc.py", agent.address, "fetch-x509")
        assert "svids" not in refused, refused
        agent.stop()

    with s.check("an evicted agent is forgotten and may come back with a new token"):
        assert "Agent evicted successfully" in server.ok("agent", "evict", "-spiffeID", agent.id)
        done = server.cli("agent", "show", "-spiffeID", agent.id)
        assert done.returncode == 1, done.stdout
        again = Agent(s, server, name="returning").start()
        listed = [one["id"] for one in server.json("agent", "list")["agents"]]
        assert again.id in ["spiffe://{trust_domain}{path}".format(**one) for one in listed], listed
        again.stop()
        for command in ("ban", "evict"):
            done = server.cli("agent", command, "-spiffeID", server.id("spire/agent/none"))
            assert done.returncode == 1, f"{command} of an unknown agent: {done.stdout}"


def purge(s):
    with s.check("purge removes what has expired and can attest again, and only that"):
        server = Server(s, name="short-lived", agent_ttl="3s").start()
        attest.outcome(server, server.token())
        time.sleep(5)
        assert server.json("agent", "count")["count"] == 1
        answer = server.json("agent", "purge", "-expiredFor", "1s", "-dryRun")
        # Join-token agents cannot re-attest, so a purge leaves them alone.
        assert not answer.get("expired_agents"), answer
        server.ok("agent", "purge", "-expiredFor", "1s")
        assert server.json("agent", "count")["count"] == 1
        server.stop()


main(__file__, body)
