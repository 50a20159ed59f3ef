"""Stock HTTP/2 and gRPC clients on Cygnet's own HTTP/2 engine."""
import os
import sys

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "12-http2"))  # measure.py

import go_client  # noqa: E402
import nghttp2  # noqa: E402
import python_client  # noqa: E402
from harness import Agent, Server, main, own_selectors, protos, wait_until  # noqa: E402
from harness.streams import code_of  # noqa: E402


def body(s):
    program = go_client.build(s)
    server = Server(s, log_level="ERROR").start()
    agent = Agent(s, server, log_level="ERROR").start()
    # Without root the two clients have one identity each, by their paths.
    ours, theirs = own_selectors(), own_selectors(program)
    for selectors in [ours] if ours == theirs else [ours, theirs]:
        server.create_entry("one", agent.id, selectors)
    api, m = agent.workload_api(), protos.messages(protos.WORKLOAD_API)
    wait_until("the entries reach the agent", lambda: code_of(
        api.FetchX509SVID, m.X509SVIDRequest(), metadata=protos.HEADER, timeout=5)[0].name == "OK")

    client = program and go_client.GoClient(program, agent.socket, theirs)
    if client:
        wait_until("the entries reach the Go client", lambda: client("fetch", 1) == {"OK": 1})
        go_client.modes(s, client)
    nghttp2.load(s, server, agent)
    nghttp2.nghttp(s, server, agent)
    python_client.threads(s, agent)
    python_client.details(s, agent)
    if client:
        go_client.memory(s, client, agent)
        go_client.restarts(s, client, server, agent)


main(__file__, body)
