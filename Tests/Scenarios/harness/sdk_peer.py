"""`sdk-peer`, the program that does with the SDK what a scenario asks."""
import json
import os
import shutil

from .cluster import binary
from .process import run, wait_until
from .workload import Workload, can_set_uid


class SwiftPeer:
    """`sdk-peer` under an identity of its own."""

    def __init__(self, s, agent, name):
        self.s, self.agent, self.name = s, agent, name
        self.program = binary("sdk-peer")
        self.workload = Workload(s, name)
        if not can_set_uid():
            self.program = s.path("bin", name, "sdk-peer")
            shutil.copy2(binary("sdk-peer"), self.program)

    @property
    def selectors(self):
        if can_set_uid():
            return self.workload.selectors
        return [f"unix:path:{os.path.realpath(self.program)}"]

    def command(self, *words):
        return self.workload.command([self.program, *words])

    @property
    def environment(self):
        return {"SPIFFE_ENDPOINT_SOCKET": self.agent.address}

    def run(self, *words):
        """The last line of a run."""
        done = run(self.command(*words), timeout=60, env={**os.environ, **self.environment})
        lines = [line for line in done.stdout.split("\n") if line.startswith("{")]
        assert lines, f"sdk-peer {words[0]} printed nothing: {done.stderr[-800:]}"
        return json.loads(lines[-1])

    def start(self, *words):
        return self.s.daemon(self.name, self.command(*words), env=self.environment)


def lines(daemon, key):
    """What the lines of a daemon say under a key."""
    found = []
    for line in daemon.log().split("\n"):
        if line.startswith("{") and line.endswith("}"):
            members = json.loads(line)
            if key in members:
                found.append(members[key])
    return found


def listening(daemon):
    wait_until("it listens", lambda: lines(daemon, "listening"), 30)
    return daemon
