"""The disk below the ledger is full: nothing is issued, everybody can see it, and with room again it goes on."""
import os
import subprocess

from harness import Server, binary, free_port, ledger, run, wait_until


class SmallDisk:
    """A folder that can be full: a file system of its own, or where that cannot be had a limit on the length of the
    server's files, which hits the journal first because it is the one that grows."""

    def __init__(self, s, folder, megabytes=3):
        self.folder = folder
        self.filler = os.path.join(folder, "filler")
        done = run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", folder])
        self.is_mounted = done.returncode == 0
        if self.is_mounted:
            s.at_end(lambda: run(["umount", "-l", folder]))
        else:
            s.note(f"no tmpfs here ({done.stderr.strip()}): a limit on the length of files instead")

    def command(self, argv):
        """How the server is to be started: without the signal that would end it at the limit."""
        return argv if self.is_mounted else ["env", "--ignore-signal=XFSZ", *argv]

    def fill(self, server):
        if self.is_mounted:
            with open(self.filler, "wb", buffering=0) as file:
                for size in (1 << 16, 1 << 12, 512):
                    try:
                        while True:
                            file.write(bytes(size))
                    except OSError:
                        pass
        else:
            journal = os.path.join(self.folder, "ledger", "journal")
            self._limit(server, str(os.path.getsize(journal) + 1024))

    def free(self, server):
        if self.is_mounted:
            os.unlink(self.filler)
        else:
            self._limit(server, "unlimited")

    @staticmethod
    def _limit(server, size):
        subprocess.run(["prlimit", f"--pid={server.daemon.pid}", f"--fsize={size}:"], check=True)


def status(port, path):
    """The HTTP status of a health check, as curl sees it."""
    done = run(["curl", "-sS", "-m", "10", "-o", os.devnull, "-w", "%{http_code}", f"http://127.0.0.1:{port}{path}"])
    return int(done.stdout or 0)


def body(s):
    port = free_port()
    server = Server(s, name="small")
    # The ledger alone is on the small disk; keys and store are elsewhere.
    server.data_dir = os.path.dirname(s.path("small", "disk", "x"))
    server.more = (f'health_checks {{\n    listener_enabled = true\n    bind_address = "127.0.0.1"\n'
                   f'    bind_port = "{port}"\n}}\n')
    disk = SmallDisk(s, server.data_dir)
    server.write_config()

    def start():
        server.daemon = s.daemon(server.name, disk.command([binary("cygnet-server"), "run", "-config", server.config]))
        server.wait_ready()
    start()
    key = server.ok("ledger", "key").strip()
    acknowledged = []

    def mint():
        """None when it was issued, else what was said."""
        name = server.id(f"/w{len(acknowledged)}")
        done = server.cli("x509", "mint", "-spiffeID", name)
        if done.returncode == 0:
            acknowledged.append(name)
            return None
        assert not done.stdout, "an SVID was printed with an error"
        return done.stderr

    def verified(*words):
        done = run([binary("cygnet"), "ledger", "verify", "--dir", os.path.join(server.data_dir, "ledger"),
                    "--key", key, *words])
        assert done.returncode == 0, done.stderr

    for _ in range(5):
        assert mint() is None
    wait_until("it is ready", lambda: status(port, "/ready") == 200)

    with s.check("with a full disk nothing is issued, and the message says what to do"):
        disk.fill(server)
        refusal = None
        for _ in range(400):
            refusal = mint()
            if refusal:
                break
        assert refusal, "400 SVIDs were issued on a full disk"
        for word in ("Unavailable", "issuance refused: cannot write ledger", "free space or repair the disk"):
            assert word.lower() in refusal.lower(), f"{word!r} is not in {refusal!r}"
        s.note(f"{len(acknowledged)} SVIDs before the disk was full")
        # Tokens and agents are no exception.
        done = server.cli("jwt", "mint", "-spiffeID", server.id("/j"), "-audience", "x")
        assert done.returncode == 1 and "cannot write ledger" in done.stderr, done

    with s.check("health shows it: not ready, but alive; reading goes on"):
        wait_until("it is not ready", lambda: status(port, "/ready") == 500)
        assert status(port, "/live") == 200
        assert "BEGIN CERTIFICATE" in server.bundle_pem()
        for _ in range(3):
            assert mint(), "issued while the disk is full"
        verified()

    with s.check("with room again it goes on by itself, and nothing that was handed out is missing"):
        disk.free(server)
        wait_until("an SVID is issued", lambda: mint() is None, 20)
        wait_until("it is ready again", lambda: status(port, "/ready") == 200)
        for _ in range(20):
            assert mint() is None
        issued = [leaf["spiffe_id"] for leaf in ledger.of_type(server, "svid.issued")]
        assert not set(acknowledged) - set(issued), "an SVID has no leaf"
        verified()

    with s.check("filled again and killed there, it comes back with all of it"):
        disk.fill(server)
        for _ in range(400):
            if mint():
                break
        server.kill()
        disk.free(server) if disk.is_mounted else None
        start()
        assert server.ok("ledger", "key").strip() == key
        assert mint() is None
        issued = [leaf["spiffe_id"] for leaf in ledger.of_type(server, "svid.issued")]
        assert not set(acknowledged) - set(issued), "an SVID has no leaf"
        wait_until("what is published holds", lambda: verified() is None)
    server.stop()
