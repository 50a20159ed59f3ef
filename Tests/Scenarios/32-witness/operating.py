"""Days in the life of an operator with witnesses: one behind HTTPS, one that is down, and a ledger from an old copy."""
import http.client
import os
import shutil
import time

import cosignatures
from harness import Server, binary, run, wait_until
from harness.webcert import WebAuthority, start_trusting
from witness import Witness


class Operated:
    """A server whose ledger two witnesses are to cosign, and what can be seen of it."""

    def __init__(self, s, name, secure):
        self.server = Server(s, name=name).start()
        self.folder = os.path.join(self.server.data_dir, "ledger")
        self.key = self.server.ok("ledger", "key").strip()
        self.server.stop()
        self.web = WebAuthority(s, f"{name}-ca")
        self.witnesses = [Witness(s, f"{name}-first"), Witness(s, f"{name}-second")]
        first, second = self.witnesses
        more = {}
        if secure:
            certificate, key = s.path(name, "witness.crt"), s.path(name, "witness.key")
            self.web.issue(certificate, key, "localhost")
            more = {"serving_cert_file": {"cert_file_path": certificate, "key_file_path": key}}
            first.tls = self.web.context
        first.write(self.key, **more)
        second.write(self.key)
        self.vkeys = [witness.key() for witness in self.witnesses]
        urls = [f"https://localhost:{first.port}" if secure else f"http://127.0.0.1:{first.port}",
                f"http://127.0.0.1:{second.port}"]
        ledger = {f'witness "{witness.name}"': {"url": url, "key": vkey}
                  for witness, url, vkey in zip(self.witnesses, urls, self.vkeys)}
        self.server.write_config(ledger={**ledger, "quorum": 2})
        self.minted = 0

    def mint(self):
        self.minted += 1
        self.server.ok("x509", "mint", "-spiffeID", self.server.id(f"/w{self.minted}"))

    def checkpoint(self):
        with open(os.path.join(self.folder, "checkpoint"), "rb") as file:
            return file.read()

    def cosigners(self):
        """Which of the two have cosigned what is published, as Python sees it; a signature that is false raises."""
        note = self.checkpoint()
        return [cosignatures.cosigned(note, vkey) is not None for vkey in self.vkeys]

    def log(self, *words):
        """The lines of the server's log, since it was started last, that have all of these words."""
        return [line for line in self.server.daemon.log().split("\n") if all(word in line for word in words)]

    def verify(self, quorum):
        words = [word for vkey in self.vkeys for word in ("--witness", vkey)]
        return run([binary("cygnet"), "ledger", "verify", "--dir", self.folder, "--key", self.key, *words,
                    "--quorum", str(quorum)])

    def verified(self, quorum):
        """False for the moment after a publication in which nobody has cosigned."""
        done = self.verify(quorum)
        assert done.returncode == 0 or "witnesses cosigned" in done.stderr, done.stderr
        return done.returncode == 0


def body(s):
    outage(s)
    secure(s)
    restored(s)


def outage(s):
    here = Operated(s, "outage", secure=False)
    first, second = here.witnesses
    first.start()
    here.server.start()

    with s.check("with one of two witnesses down the other's cosignature is published, and the log says what is missing"):
        for _ in range(5):
            here.mint()
        wait_until("the first has cosigned", lambda: here.cosigners() == [True, False], 30)
        wait_until("the log says so", lambda: here.log("the ledger has no quorum of witnesses"), 30)
        (line,) = here.log("the ledger has no quorum of witnesses")
        assert "error" in line.lower() and "2" in line, line
        (line,) = [line for line in here.log("a witness does not cosign") if "warn" in line.lower()]
        assert "outage-second" in line, line

    with s.check("nothing that is issued waits for it, and verify finds one witness and not two"):
        begun = time.monotonic()
        for _ in range(10):
            here.mint()
        s.note(f"10 SVIDs in {time.monotonic() - begun:.1f} s")
        wait_until("one is found", lambda: here.verified(1))
        done = here.verify(2)
        assert done.returncode == 1 and "cosigned" in done.stderr, done

    with s.check("when it comes up it is asked again by itself, and the quorum is there"):
        second.start()
        wait_until("both have cosigned", lambda: here.cosigners() == [True, True] or here.mint(), 90, pause=1)
        wait_until("the log says so", lambda: here.log("the ledger has a quorum of witnesses"), 20)
        wait_until("verified with a quorum", lambda: here.verified(2))
    for witness in here.witnesses:
        witness.daemon.stop()
    here.server.stop()


def secure(s):
    here = Operated(s, "secure", secure=True)
    first, second = here.witnesses

    with s.check("a witness with HTTPS cosigns for a server that trusts its certificate"):
        for witness in here.witnesses:
            witness.start()
        start_trusting(here.server, here.web.file)
        here.mint()
        wait_until("both have cosigned", lambda: here.cosigners() == [True, True], 30)
        try:
            cosignatures.post(first.port, None, method="GET")
            raise AssertionError("it answers without TLS")
        except (OSError, http.client.HTTPException):
            pass
        here.server.stop()

    with s.check("and is not asked by one that does not"):
        stranger = WebAuthority(s, "stranger-ca")
        start_trusting(here.server, stranger.file)
        here.mint()
        wait_until("the log has the reason", lambda: here.log("a witness does not cosign", "secure-first"), 30)
        (line,) = [line for line in here.log("a witness does not cosign") if "warn" in line.lower()]
        assert "certificate" in line.lower(), line
        wait_until("the other has cosigned", lambda: here.cosigners() == [False, True], 30)
    for witness in here.witnesses:
        if witness.daemon:
            witness.daemon.stop()
    here.server.stop()

    with s.check("an address without TLS is for this machine only"):
        here.server.write_config(ledger={
            'witness "far"': {"url": f"http://witness.example.net:{first.port}", "key": here.vkeys[0]}})
        done = run([binary("cygnet-server"), "validate", "-config", here.server.config])
        assert done.returncode == 1 and "https" in done.stderr + done.stdout, done


def restored(s):
    here = Operated(s, "restored", secure=False)
    for witness in here.witnesses:
        witness.start()
    here.server.start()
    for _ in range(5):
        here.mint()
    wait_until("both have cosigned", lambda: here.cosigners() == [True, True], 30)
    here.server.stop()
    copy = os.path.join(s.folder, "ledger-copy")
    shutil.copytree(here.folder, copy)
    here.server.start()
    for _ in range(20):
        here.mint()
    wait_until("both have cosigned", lambda: here.cosigners() == [True, True], 30)
    here.server.stop()

    with s.check("a ledger that was restored from an older copy is not cosigned, and the log says why, at level fatal"):
        shutil.rmtree(here.folder)
        shutil.copytree(copy, here.folder)
        here.server.start()
        here.mint()
        wait_until("of both", lambda: all(
            here.log("level=fatal", "a witness does not cosign", "an older copy was restored", witness.name)
            for witness in here.witnesses), 30)
        assert here.log("the ledger has no quorum of witnesses")
        done = here.verify(1)
        assert done.returncode == 1 and "cosigned" in done.stderr, done

    with s.check("longer than what was cosigned it is another history, and stays one"):
        # What the first one had after the copy is fewer leaves than these.
        for _ in range(30):
            here.mint()
        here.server.restart()
        here.mint()
        wait_until("of both", lambda: all(
            here.log("level=fatal", "a witness does not cosign", "another history", witness.name)
            for witness in here.witnesses), 30)
        assert here.cosigners() == [False, False], "another history was cosigned"
    here.server.stop()
    for witness in here.witnesses:
        witness.daemon.stop()
