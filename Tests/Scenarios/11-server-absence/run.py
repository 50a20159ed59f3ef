"""The agent outlives its server's absence."""
import time

import grpc
from harness import Agent, Server, Workload, main, own_selectors, protos, wait_until
from harness.streams import code_of, ids, watch_x509


def body(s):
    server = Server(s).start()
    agent = Agent(s, server).start()
    known, unknown = Workload(s, "known"), Workload(s, "unknown")
    server.create_entry("known", agent.id, known.selectors)
    server.create_entry("self", agent.id, own_selectors())
    m = protos.messages(protos.WORKLOAD_API)
    api = agent.workload_api()
    wait_until("the workload is served", lambda: "svids" in known.run(
        "plain_grpc.py", agent.address, "fetch-x509"))
    watch = watch_x509(api)
    watch.next()
    (token,) = known.run("plain_grpc.py", agent.address, "fetch-jwt", "cached")

    server.stop()
    with s.check("without the server, open streams stay and new clients are served"):
        time.sleep(2)
        assert not watch.ended.is_set(), watch.end
        answer = known.run("plain_grpc.py", agent.address, "fetch-x509")
        assert [svid["id"] for svid in answer["svids"]] == [server.id("known")], answer
        (again,) = known.run("plain_grpc.py", agent.address, "fetch-jwt", "cached")
        assert again["id"] == token["id"]
        assert known.run("plain_grpc.py", agent.address, "validate", "cached", token["token"]) == {
            "id": server.id("known")}
        refused = unknown.run("plain_grpc.py", agent.address, "fetch-x509")
        assert refused["code"] == "PERMISSION_DENIED", refused

    with s.check("what needs the server fails within its deadline, with a reason"):
        begun = time.monotonic()
        code, text = code_of(api.FetchJWTSVID, m.JWTSVIDRequest(audience=["never-asked-before"]),
                             metadata=protos.HEADER, timeout=40)
        assert code == grpc.StatusCode.UNAVAILABLE, f"{code} {text}"
        assert time.monotonic() - begun < 35

    with s.check("the agent runs, and its log says that the server is away"):
        assert agent.daemon.alive
        log = agent.daemon.log().lower()
        assert "server" in log and ("reconnect" in log or "retry" in log or "again" in log), (
            agent.daemon.log_tail(8))

    server.start()
    with s.check("the agent connects again by itself and brings what is new"):
        server.create_entry("new", agent.id, own_selectors())
        watch.until(lambda message: server.id("new") in ids(message), 40)
        watch.cancel()

    with s.check("an agent restarted while the server is away serves as soon as it is back"):
        server.stop()
        agent.stop()
        agent.launch()
        time.sleep(2)
        assert agent.daemon.alive, agent.daemon.log_tail(8)
        server.start()
        agent.wait_ready(45)
        assert "svids" in known.run("plain_grpc.py", agent.address, "fetch-x509")

    with s.check("an agent whose own SVID has expired keeps running and says what to do"):
        short = Server(s, name="short", agent_ttl="6s").start()
        node = Agent(s, short, name="short-agent").start()
        short.stop()
        time.sleep(10)
        assert node.daemon.alive, node.daemon.log_tail(8)
        short.start()
        wait_until("its log names the expiry",
                   lambda: "expired" in node.daemon.log().lower(), 30)
        assert node.daemon.alive, node.daemon.log_tail(8)


main(__file__, body)
