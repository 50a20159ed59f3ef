"""Revocation from the command line: what is covered is issued no more, what is not covered goes on."""
import os
import signal
import time

from harness import Agent, Server, Workload, main, wait_until


def fetch(agent, workload):
    return workload.run("plain_grpc.py", agent.address, "fetch-x509")


def serial(agent, workload):
    """Serial number of the workload's one SVID; None when it has none."""
    svids = fetch(agent, workload).get("svids")
    return svids[0]["serial"] if svids else None


def refused(server, *words):
    done = server.cli(*words)
    assert done.returncode == 1 and not done.stdout, (words, done)
    assert done.stderr.startswith("Error: "), done.stderr
    return done.stderr


def body(s):
    server = Server(s).start()
    agent = Agent(s, server).start()
    pump, camera = Workload(s, "pump"), Workload(s, "camera")
    pump_entry = server.create_entry("agents/pump", agent.id, pump.selectors)
    server.create_entry("agentsmith/camera", agent.id, camera.selectors)
    wait_until("both are served", lambda: serial(agent, pump) and serial(agent, camera))
    camera_serial = serial(agent, camera)
    assert pump.run("stock_spiffe.py", agent.address, "audience"), "before: the stock client is served"

    input_errors(s, server)

    with s.check("a dry run counts and changes nothing"):
        text = server.ok("revocation", "create", "-pathPrefix", "/agents", "-dryRun")
        assert text.startswith("Nothing was revoked. It would hit:\n"), text
        hits = server.json("revocation", "create", "-pathPrefix", "/agents", "-dryRun")
        assert "revocation" not in hits, hits
        assert hits["hits"]["entries"] == "1" and hits["hits"]["x509_svids"] != "0", hits
        assert hits["hits"]["spiffe_ids"] == [server.id("agents/pump")], hits
        assert server.json("revocation", "list")["revocations"] == []
        assert serial(agent, pump)

    with s.check("a suspended path has no SVID any more, by whole segments"):
        made = server.json("revocation", "create", "-pathPrefix", "/agents", "-suspend",
                           "-reason", "stolen")
        revocation = made["revocation"]
        assert revocation["target"] == {"path_prefix": "/agents"}, made
        assert revocation["suspension"] and revocation["caller"].startswith("uid:"), made
        wait_until("the pump has none", lambda: fetch(agent, pump).get("code") == "PERMISSION_DENIED")
        assert serial(agent, camera), "/agentsmith is not below /agents"

    with s.check("nobody mints what is revoked, and the message names the revocation"):
        for kind, more in (("x509", []), ("jwt", ["-audience", "x"])):
            text = refused(server, kind, "mint", "-spiffeID", server.id("agents/new"), *more)
            assert revocation["id"] in text and "stolen" in text, text
        server.ok("x509", "mint", "-spiffeID", server.id("agentsmith/new"))

    with s.check("it outlives a restart"):
        server.restart()
        assert [one["id"] for one in server.json("revocation", "list")["revocations"]] == [revocation["id"]]
        refused(server, "x509", "mint", "-spiffeID", server.id("agents/new"))
        time.sleep(2)
        assert fetch(agent, pump).get("code") == "PERMISSION_DENIED"

    with s.check("list and show print blocks"):
        for text in (server.ok("revocation", "list"),
                     server.ok("revocation", "show", "-id", revocation["id"])):
            for line in (f"Revocation ID     : {revocation['id']}\n", "Path prefix       : /agents\n",
                         "Mode              : suspension\n", "Reason            : stolen\n",
                         "Expires at        : never\n"):
                assert line in text, text

    with s.check("lifted, the identity comes back"):
        text = server.ok("revocation", "lift", "-id", revocation["id"], "-reason", "found")
        assert text.startswith("Revocation lifted\n"), text
        wait_until("the pump has one again", lambda: serial(agent, pump))
        assert "not found" in refused(server, "revocation", "lift", "-id", revocation["id"])
        assert server.ok("revocation", "list") == "No revocations found\n"

    with s.check("one with an expiry ends by itself"):
        server.ok("revocation", "create", "-entryID", pump_entry, "-expiry", "4s")
        wait_until("the pump has none", lambda: fetch(agent, pump).get("code") == "PERMISSION_DENIED")
        wait_until("the pump has one again", lambda: serial(agent, pump))
        assert server.json("revocation", "list")["revocations"] == []

    with s.check("the kill switch names what it hit and says who confirmed"):
        text = server.ok("kill", "-pathPrefix", "/agents", "-reason", "drill")
        assert text.startswith("Revocation is in force\n"), text
        assert server.id("agents/pump") in text and "drill" in text, text
        assert "Confirmed by " in text or "No agent is connected" in text, text
        wait_until("the pump has none", lambda: fetch(agent, pump).get("code") == "PERMISSION_DENIED")
        (killed,) = server.json("revocation", "list")["revocations"]
        assert killed["and_children"] and not killed["suspension"], killed
        assert "no suspension" in refused(server, "revocation", "lift", "-id", killed["id"])

    with s.check("an agent that hangs is named by the kill switch, and obeys as soon as it can"):
        stuck = Agent(s, server, name="stuck").start()
        server.create_entry("swarm/pump", stuck.id, pump.selectors)
        server.create_entry("swarm/pump", agent.id, pump.selectors)
        wait_until("it serves the pump", lambda: serial(stuck, pump))
        os.kill(stuck.daemon.pid, signal.SIGSTOP)
        try:
            begun = time.monotonic()
            done = server.cli("kill", "-pathPrefix", "/swarm", "-timeout", "2s", "-reason", "drill")
            assert time.monotonic() - begun < 15, "it waited longer than it was told to"
            assert done.returncode == 1, done
            assert "Confirmed by 1 of 2 connected agents" in done.stdout, done.stdout
            assert f"Not confirmed by  : {stuck.id}\n" in done.stdout, done.stdout
            assert "1 of 2 agents did not confirm in time; the revocation is in force" in done.stderr, done.stderr
            refused(server, "x509", "mint", "-spiffeID", server.id("swarm/pump"))
        finally:
            os.kill(stuck.daemon.pid, signal.SIGCONT)
        wait_until("the pump has none", lambda: fetch(stuck, pump).get("code") == "PERMISSION_DENIED")
        stuck.stop()

    with s.check("who was never covered still has the same SVID"):
        assert serial(agent, camera) == camera_serial

    with s.check("a revoked agent is refused; with -revoke a ban revokes what it holds"):
        other = Agent(s, server, name="other").start()
        server.ok("revocation", "create", "-agentID", other.id, "-suspend")
        (held,) = [one for one in server.json("revocation", "list")["revocations"] if one["suspension"]]
        wait_until("the agent says why",
                   lambda: f"revoked by revocation {held['id']}" in other.daemon.log())
        server.ok("revocation", "lift", "-id", held["id"])
        server.ok("agent", "ban", "-spiffeID", other.id, "-revoke")
        made = server.json("revocation", "list")["revocations"][-1]
        assert made["target"] == {"agent_id": other.id} and made["replace"], made
        assert made["reason"] == "agent banned", made
        other.stop()


def input_errors(s, server):
    with s.check("what cannot be is refused with exit code 1 and a reason"):
        for words in ([], ["-entryID", "e", "-jti", "j"], ["-selector", "nocolon"],
                      ["-spiffeID", "spiffe://other.test/a"], ["-spiffeID", server.id("spire/server")],
                      ["-pathPrefix", "agents"], ["-pathPrefix", "/"], ["-serial", "xyz"],
                      ["-jti", "j", "-andChildren"], ["-entryID", "e", "-suspend", "-replace"],
                      ["-entryID", "e", "-expiry", "yesterday"], ["-entryID", "e", "-expiry", "1"],
                      ["-entryID", "e", "-reason", "x" * 1025]):
            refused(server, "revocation", "create", *words)
        for words in (["lift"], ["show"], ["lift", "-id", "none"], ["show", "-id", "none"]):
            refused(server, "revocation", *words)
        refused(server, "kill")
        refused(server, "kill", "-pathPrefix", "/a", "-timeout", "1h")
        assert server.json("revocation", "list") == {"next_page_token": "", "revocations": []}


main(__file__, body)
