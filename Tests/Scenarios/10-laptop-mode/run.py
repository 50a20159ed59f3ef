"""cygnet up and cygnet exec."""
import os
import re
import sys

from harness import binary, main, own_selectors, protos, run, wait_until
from harness.workload import CLIENTS, ROOT


class Laptop:
    """A user's home in which `cygnet up` runs."""

    def __init__(self, s, name):
        self.s, self.name = s, name
        self.env = {
            "HOME": os.path.dirname(s.path(name, "home", "x")),
            "XDG_STATE_HOME": os.path.dirname(s.path(name, "state", "x")),
            "XDG_RUNTIME_DIR": os.path.dirname(s.path(name, "run", "x")),
            "CYGNET_ROOT": ROOT, "PYTHONDONTWRITEBYTECODE": "1",
        }
        os.chmod(self.env["XDG_RUNTIME_DIR"], 0o700)
        self.daemon = self.server = self.agent = None

    def up(self, *flags):
        self.daemon = self.s.daemon(self.name, [binary("cygnet"), "up", *flags], env=self.env)
        wait_until("cygnet up prints sockets that work", self._sockets, 30)
        return self

    def _sockets(self):
        if not self.daemon.alive:
            raise AssertionError(f"cygnet up ended:\n{self.daemon.log_tail()}")
        for path in set(re.findall(r"(/[^\s'\"]+\.sock)", self.daemon.log())):
            if not os.path.exists(path):
                continue
            for program, name in (("cygnet-server", "server"), ("cygnet-agent", "agent")):
                done = run([binary(program), "healthcheck", "-socketPath", path])
                # Both sockets answer health checks; the name tells which is which.
                if done.returncode == 0 and name in os.path.basename(path):
                    setattr(self, name, path)
        return self.server and self.agent

    def cli(self, *words):
        return run([binary("cygnet-server"), *words, "-socketPath", self.server], check=True).stdout

    def exec(self, *words, **options):
        return run([binary("cygnet"), "exec", "--", *words], env={**os.environ, **self.env},
                   **options)


def body(s):
    protos.folder()
    laptop = Laptop(s, "laptop")
    with s.check("cygnet up --ephemeral starts both and prints what to do next"):
        laptop.up("--ephemeral")
        text = laptop.daemon.log()
        assert len(re.findall(r"cygnet(?:-server|-agent)? \w+", text)) >= 3, text[:1500]

    with s.check("cygnet exec sets SPIFFE_ENDPOINT_SOCKET and passes arguments and exit codes"):
        done = laptop.exec("sh", "-c", 'printf "%s" "$SPIFFE_ENDPOINT_SOCKET"; exit 7')
        assert done.returncode == 7, f"exit code {done.returncode}: {done.stderr}"
        assert done.stdout == f"unix://{laptop.agent}", done.stdout
        done = laptop.exec("no-such-program-at-all")
        assert done.returncode == 127, f"exit code {done.returncode}: {done.stderr}"
        assert done.stderr.strip()

    with s.check("a program that nobody registered is refused, in the live lines with a reason"):
        client = [sys.executable, os.path.join(CLIENTS, "plain_grpc.py")]
        done = laptop.exec(*client, f"unix://{laptop.agent}", "fetch-x509")
        assert "PERMISSION_DENIED" in done.stdout, done.stdout + done.stderr
        wait_until("the refusal is shown", lambda: "refus" in laptop.daemon.log().lower()
                   or "no identity issued" in laptop.daemon.log(), 10)

    with s.check("a registered program gets its identity"):
        parent = re.search(r"spiffe://\S+/spire/agent/\S+", laptop.cli("agent", "list")).group(0)
        domain = parent.split("/")[2]
        words = ["entry", "create", "-spiffeID", f"spiffe://{domain}/tool", "-parentID", parent]
        for selector in own_selectors():
            words += ["-selector", selector]
        laptop.cli(*words)

        def served():
            done = laptop.exec(*client, f"unix://{laptop.agent}", "fetch-x509")
            return f"spiffe://{domain}/tool" in done.stdout
        wait_until("the program is served", served, 15)

    with s.check("SIGTERM ends it with 0 and takes the ephemeral state along"):
        folder = os.path.dirname(laptop.server)
        assert laptop.daemon.stop() == 0, laptop.daemon.exit_code
        assert not os.path.exists(laptop.server) and not os.path.exists(laptop.agent)
        assert not os.path.exists(folder) or not os.listdir(folder), os.listdir(folder)

    with s.check("cygnet exec without cygnet up says what to do"):
        done = laptop.exec("true")
        assert done.returncode == 1, done.returncode
        assert "cygnet up" in done.stderr, done.stderr

    with s.check("without --ephemeral, entries and authorities stay between two runs"):
        laptop = Laptop(s, "kept").up()
        parent = re.search(r"spiffe://\S+/spire/agent/\S+", laptop.cli("agent", "list")).group(0)
        laptop.cli("entry", "create", "-spiffeID", f"spiffe://{parent.split('/')[2]}/kept",
                   "-parentID", parent, "-selector", "unix:uid:77", "-entryID", "kept")
        bundle = laptop.cli("bundle", "show")
        laptop.daemon.stop()
        laptop.server = laptop.agent = None
        laptop.up()
        assert "Entry ID" in laptop.cli("entry", "show", "-entryID", "kept")
        assert laptop.cli("bundle", "show") == bundle
        again = re.search(r"spiffe://\S+/spire/agent/\S+", laptop.cli("agent", "list")).group(0)
        assert again == parent, "the agent attested anew"
        laptop.daemon.stop()


main(__file__, body)
