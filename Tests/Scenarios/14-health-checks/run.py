"""The HTTP listener for orchestrators: live and ready, asked by curl; rubbish harms nobody."""
import json
import socket
import subprocess

from harness import Agent, Server, main
from harness.process import free_port, wait_until


def block(port, **paths):
    lines = "".join(f'    {key} = "{value}"\n' for key, value in paths.items())
    return (f'health_checks {{\n    listener_enabled = true\n    bind_address = "127.0.0.1"\n'
            f'    bind_port = "{port}"\n{lines}}}\n')


def ask(port, path, *options):
    """(HTTP status, body) as curl sees them; (0, "") when there is no answer."""
    done = subprocess.run(
        ["curl", "-sS", "-m", "10", "-w", "\n%{http_code}", *options, f"http://127.0.0.1:{port}{path}"],
        capture_output=True, text=True, timeout=30)
    text, _, code = done.stdout.rpartition("\n")
    return int(code or 0), text


def send(port, data):
    """Sends bytes as they are and returns the start of the answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.settimeout(15)
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            return connection.recv(4096)
        except OSError:
            return b""


def body(s):
    server = Server(s)
    server_port = free_port()
    server.more = block(server_port)
    server.write_config()
    server.start()
    agent = Agent(s, server)
    agent_port = free_port()
    agent.more = block(agent_port, live_path="/health/live", ready_path="/health/ready")

    with s.check("the server is live and ready"):
        for path in ("/live", "/ready", "/ready?verbose"):
            code, text = ask(server_port, path)
            assert code == 200 and json.loads(text)["status"] == "ok", (path, code, text)

    with s.check("an agent that has never heard from its server is live and not ready"):
        token = server.token()
        with open(agent.bundle, "w", encoding="utf-8") as file:
            file.write(server.bundle_pem())
        server.stop()
        agent.launch(token)
        wait_until("the listener answers", lambda: ask(agent_port, "/health/live")[0] == 200, 20)
        code, text = ask(agent_port, "/health/ready")
        assert code == 500, (code, text)

    with s.check("it is ready once it has"):
        server.start()
        wait_until("the agent is ready", lambda: ask(agent_port, "/health/ready")[0] == 200, 45)

    with s.check("other paths and methods are told so"):
        assert ask(agent_port, "/live")[0] == 404
        assert ask(agent_port, "/health/live", "-X", "DELETE")[0] == 405
        assert ask(agent_port, "/health/live", "--head")[0] == 200

    with s.check("rubbish, long lines and bodies harm nobody"):
        for data in (b"\x00" * 4096, b"GET " + b"/a" * 200_000 + b" HTTP/1.1\r\n\r\n",
                     b"GET /health/live HTTP/1.1\r\n" + b"a: b\r\n" * 50_000 + b"\r\n",
                     b"POST /health/live HTTP/1.1\r\ncontent-length: 99999999\r\n\r\n" + b"x" * 100_000,
                     b"GET /health/live HT", b""):
            answer = send(agent_port, data)
            assert not answer.startswith(b"HTTP/1.1 200"), (data[:40], answer[:80])
            assert ask(agent_port, "/health/live")[0] == 200, data[:40]
        assert agent.daemon.alive

    with s.check("a port that is taken is named at the start"):
        second = Server(s, name="second")
        second.more = block(server_port)
        second.write_config()
        second.launch()
        wait_until("the second server ends", lambda: not second.daemon.alive, 20)
        assert second.daemon.exit_code == 1, second.daemon.exit_code
        assert f"127.0.0.1:{server_port}" in second.daemon.log(), second.daemon.log_tail(8)

    agent.stop()
    server.stop()


main(__file__, body)
