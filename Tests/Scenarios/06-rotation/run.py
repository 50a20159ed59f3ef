"""mTLS between two processes through many rotations, without a failed handshake."""
import json
import os

from cryptography import x509
from harness import Agent, Server, Workload, free_port, main, run, wait_until

SECONDS = 150 if os.environ.get("CYGNET_LONG") == "1" else 75


def server_serial(server):
    """The serial number of the certificate on the server's TCP port."""
    done = run(["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-alpn", "h2",
                "-showcerts"], input="", timeout=15)
    return x509.load_pem_x509_certificates(done.stdout.encode())[0].serial_number


def last_json(daemon):
    lines = [line for line in daemon.log().split("\n") if line.startswith("{")]
    return json.loads(lines[-1])


def body(s):
    server = Server(
        s, default_x509_svid_ttl="20s", default_jwt_svid_ttl="20s", ca_ttl="60s",
        agent_ttl="20s").start()
    agent = Agent(s, server).start()
    left, right = Workload(s, "left"), Workload(s, "right")
    server.create_entry("left", agent.id, left.selectors)
    server.create_entry("right", agent.id, right.selectors)
    port = free_port()
    first_server_serial = server_serial(server)
    first_agent_serial = server.json("agent", "show", "-spiffeID", agent.id)[
        "x509svid_serial_number"]

    listener = left.start("mtls_peer.py", "listen", agent.address, port, server.id("right"),
                          SECONDS + 3)
    wait_until("the listening end is ready", lambda: "ready" in listener.log(), 20)
    caller = right.start("mtls_peer.py", "connect", agent.address, port, server.id("left"),
                         SECONDS)
    wait_until("the calling end has finished", lambda: not caller.alive, SECONDS + 30)
    wait_until("the listening end has finished", lambda: not listener.alive, 30)
    called, listened = last_json(caller), last_json(listener)

    with s.check(f"no failed handshake in {SECONDS} s"):
        assert called["failures"] == [], called["failures"][:5]
        assert listened["failures"] == [], listened["failures"][:5]
        assert called["handshakes"] > SECONDS * 3, called["handshakes"]
        s.note(f"{called['handshakes']} handshakes, {called['messages']} messages on the lasting "
               f"connection, {len(called['serials'])} SVIDs")

    with s.check("SVIDs were renewed in time, on both ends"):
        for end in (called, listened):
            assert len(end["serials"]) >= SECONDS // 20, end["serials"]
            assert end["least_left"] > 2, f"an SVID was used {end['least_left']:.1f} s before its end"

    with s.check("the authority changed on the way"):
        assert called["roots"] >= 2 and listened["roots"] >= 2, (called["roots"], listened["roots"])

    with s.check("the server's own SVID changed without a restart"):
        assert server_serial(server) != first_server_serial

    with s.check("the agent's SVID was renewed, and the agent is the same"):
        shown = server.json("agent", "show", "-spiffeID", agent.id)
        assert shown["x509svid_serial_number"] != first_agent_serial, shown
        assert server.json("agent", "count")["count"] == 1
        assert agent.daemon.alive and server.daemon.alive

    with s.check("tokens are still issued and accepted"):
        (token,) = left.run("plain_grpc.py", agent.address, "fetch-jwt", "a")
        done = right.run("plain_grpc.py", agent.address, "validate", "a", token["token"])
        assert done == {"id": server.id("left")}, done


main(__file__, body)
