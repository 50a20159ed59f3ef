"""A witness as a process."""
import cosignatures
from harness import binary, free_port, run, wait_until
from harness.cluster import hcl


class Witness:
    """A `cygnet-server witness` with its own folder."""

    def __init__(self, s, name):
        self.name, self.port = name, free_port()
        self.folder = s.path(name, "data")
        self.config = s.path(name, "witness.conf")
        self.scenario, self.daemon = s, None
        # With which clients speak to it; None without TLS.
        self.tls = None

    def write(self, *logs, **more):
        settings = {
            "name": f"{self.name}.witness.test", "data_dir": self.folder, "address": "127.0.0.1",
            "port": self.port, "logs": list(logs), "log_level": "DEBUG", **more}
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(hcl(settings, "") + "\n")

    def key(self):
        done = run([binary("cygnet-server"), "witness", "-config", self.config, "-printKey"])
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def start(self):
        self.daemon = self.scenario.daemon(
            self.name, [binary("cygnet-server"), "witness", "-config", self.config])
        wait_until(f"{self.name} listens", self.answers)
        return self

    def answers(self):
        assert self.daemon.alive, self.daemon.log_tail()
        try:
            return cosignatures.post(self.port, None, method="GET", tls=self.tls)[0] == 405
        except OSError:
            return False
