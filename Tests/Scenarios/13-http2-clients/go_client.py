"""Go's gRPC library: the modes of client.go, what they leave behind, and restarts of the agent."""
import os
import re
import time

from harness import Skip, protos, run, wait_until
from measure import descriptors, resident, settled

HERE = os.path.dirname(os.path.abspath(__file__))
# Where Debian's packages put the sources of Go libraries.
GOPATH = "/usr/share/gocode"
LONG = os.environ.get("CYGNET_LONG") == "1"
CONNECTIONS = 10_000 if LONG else 1_500
WARM_UP = 500
# KiB by which memory may differ from one measurement to the next without anything being kept. 1,500
# connections that leave 2.1 KiB each would show.
SLACK = 3 * 1024


class GoClient:
    def __init__(self, program, socket, selectors):
        self.program = program
        self.socket = socket
        self.selectors = selectors

    def __call__(self, *words, timeout=120):
        """Runs a mode; returns how often calls ended with which code."""
        done = run([self.program, self.socket, *words], timeout=timeout)
        text = done.stdout + done.stderr
        assert done.returncode == 0 and done.stdout.endswith("done\n"), f"{words}: {text[-800:]}"
        return {code: int(count) for code, count in re.findall(r"^(\w+) (\d+)$", done.stdout, re.M)}


def build(s):
    """Compiles the client; without Go, or without the library, the answer is None."""
    program = s.path("go", "client")
    with s.check("Debian's Go compiles the client"):
        if not os.path.isdir(f"{GOPATH}/src/google.golang.org/grpc"):
            raise Skip("needs golang-go and golang-google-grpc-dev")
        try:
            run(["go", "build", "-o", program, os.path.join(HERE, "client.go")], timeout=240, check=True,
                env={**os.environ, "GO111MODULE": "off", "GOPATH": GOPATH, "GOFLAGS": "",
                     "CGO_ENABLED": "0", "GOCACHE": os.path.join(protos.ROOT, ".build", "scenario-go")})
        except FileNotFoundError:
            raise Skip("needs golang-go") from None
        return program
    return None


def modes(s, client):
    with s.check("Go: the health service, a unary call, first messages"):
        assert client("health") == {"OK": 1}
        assert client("unary") == {"OK": 1}
        assert client("fetch", 20) == {"OK": 20}

    with s.check("Go: 1,500 streams opened and cancelled on one connection"):
        # More than may be withdrawn unanswered: an answered stream that is cancelled is no abuse.
        assert client("reuse", 1500) == {"OK": 1500}

    with s.check("Go: 50 goroutines share a connection"):
        assert client("concurrent", 50, 20) == {"OK": 1000}

    with s.check("Go: without the security header INVALID_ARGUMENT"):
        assert client("noheader") == {"InvalidArgument": 3}

    with s.check("Go: deadlines end calls, not the connection"):
        ends = client("deadline", 50)
        assert set(ends) <= {"OK", "DeadlineExceeded"} and sum(ends.values()) == 50, ends

    with s.check("Go: 60 KB are read, 200 KB are RESOURCE_EXHAUSTED, the connection goes on"):
        # 20 times 200 KB are more than the connection's window.
        ends = client("big", 20)
        assert ends == {"InvalidArgument": 20, "ResourceExhausted": 20, "OK": 1}, ends


def memory(s, client, agent):
    with s.check(f"Go: {CONNECTIONS} connections that fetch, cancel and close leave nothing"):
        start = descriptors(agent.daemon)
        assert client("fetch", WARM_UP) == {"OK": WARM_UP}
        settled(lambda: descriptors(agent.daemon), start)
        before = resident(agent.daemon)
        assert client("fetch", CONNECTIONS, timeout=400) == {"OK": CONNECTIONS}
        now = settled(lambda: descriptors(agent.daemon), start)
        assert now <= start, f"{now} descriptors, {start} at the start"
        growth = settled(lambda: resident(agent.daemon) - before, SLACK, timeout=3.0)
        s.note(f"resident memory: {before} KiB after {WARM_UP} connections, {growth:+} KiB after "
               f"{CONNECTIONS} more")
        assert growth <= SLACK, f"memory grew by {growth} KiB from {before}; {SLACK} are allowed"


def restarts(s, client, server, agent):
    """Ends the agent twice under an open stream."""
    watch = s.daemon("go-watch", [client.program, client.socket, "watch"])

    def count(word):
        return len(re.findall(rf"^{word}\b", watch.log(), re.M))

    def more(word, action):
        """Runs the action and waits until the watch prints such a line."""
        before = count(word)
        result = action()
        try:
            wait_until("", lambda: count(word) > before)
        except AssertionError:
            raise AssertionError(f"no new {word!r} in: {watch.log()[-600:]}") from None
        return result

    def back():
        more("message", agent.start)
        # Also what an agent answers that runs, but has not heard from its server yet.
        assert count("end") == count("end Unavailable"), watch.log()
        assert watch.alive and client("health") == {"OK": 1}

    with s.check("Go: changes are pushed to an open stream"):
        wait_until("the first message", lambda: count("message") == 1)
        entry = more("message", lambda: server.create_entry("pushed", agent.id, client.selectors))
        more("message", lambda: server.delete_entry(entry))
        assert count("end") == 0, watch.log()

    with s.check("Go: SIGTERM ends an open stream with UNAVAILABLE, and the agent in time"):
        begun = time.monotonic()
        code = more("end Unavailable", lambda: agent.daemon.stop(20))
        took = time.monotonic() - begun
        assert code == 0, f"the agent ended with {code}"
        assert took < 6, f"the agent and its streams took {took:.1f} s to end"

    with s.check("Go: after the agent's restart the same client is served"):
        back()

    with s.check("Go: also after kill -9, over the socket file that was left"):
        more("end Unavailable", agent.kill)
        back()
