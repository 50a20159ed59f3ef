"""The ledger over HTTP: checked from an address as from a folder, and followed while SVIDs are issued."""
import functools
import http.server
import json
import os
import shutil
import sys
import threading

from harness import Server, binary, free_port, run, wait_until
from harness.webcert import WebAuthority, trusting

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "24-ledger-offline"))
import log  # noqa: E402


class Site:
    """A folder on a port of its own, as any web server would show it."""

    def __init__(self, s, folder):
        class Handler(http.server.SimpleHTTPRequestHandler):
            def log_message(self, *_):
                pass
        server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), functools.partial(Handler, directory=folder))
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        s.at_end(server.shutdown)


def ledger(*words, key):
    return run([binary("cygnet"), "ledger", *words, "--key", key])


def follow(s, name, url, key, *words):
    """`ledger tail` in the background, and a function with the lines that it has printed."""
    daemon = s.daemon(name, [
        binary("cygnet"), "ledger", "tail", "--url", url, "--key", key, "--interval", "0.1", *words])
    return daemon, lambda: [line for line in daemon.log().split("\n") if line]


def body(s):
    port = free_port()
    server = Server(s, name="served", ledger={"address": "127.0.0.1", "port": port}).start()
    key, url = server.ok("ledger", "key").strip(), f"http://127.0.0.1:{port}"
    folder = os.path.join(server.data_dir, "ledger")

    def mint(name):
        server.ok("x509", "mint", "-spiffeID", server.id(name))
        return server.id(name)

    def shown(place, *words):
        done = ledger("show", *place, *words, key=key)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    with s.check("verify, show and prove say the same of the address as of the folder"):
        for number in range(20):
            mint(f"/early{number}")
        wait_until("the last leaf is published",
                   lambda: shown(["--url", url], "--spiffe-id", server.id("/early19")))
        done = ledger("verify", "--url", url, key=key)
        assert done.returncode == 0 and "holds" in done.stdout, done
        # Nothing else is issued by now, so both are the same log.
        assert shown(["--url", url], "--type", "svid") == shown(["--dir", folder], "--type", "svid")
        (line,) = shown(["--url", url], "--spiffe-id", server.id("/early7"))
        index, leaf = line.split("\t")
        out = s.path("served.tlog-proof")
        done = ledger("prove", "--url", url, "--spiffe-id", server.id("/early7"), "--out", out, key=key)
        assert done.returncode == 0, done.stderr
        with open(out, "rb") as file:
            assert log.verify_proof(file.read(), key) == (int(index), leaf.encode())

    with s.check("an address that is none, and one without a ledger, are refused in clear words"):
        for wrong, says in ((f"http://127.0.0.1:{free_port()}", "cannot read"), ("ftp://127.0.0.1/x", "--url"),
                            (f"{url}/elsewhere", "checkpoint")):
            done = ledger("verify", "--url", wrong, key=key)
            assert done.returncode == 1 and not done.stdout and says in done.stderr, (wrong, done)

    with s.check("tail prints each SVID once, in the order of the ledger, while they are issued"):
        daemon, lines = follow(s, "tail", url, key, "--type", "svid.issued", "--last", "0")
        # It says nothing before it has seen the log; what is minted from then on must come.
        wait_until("the tail has begun", lambda: mint("/begin") and lines())
        wanted = [mint(f"/late{number}") for number in range(40)]

        def told():
            assert daemon.alive, daemon.log_tail()
            return [line for line in lines() if "/late" in line]
        wait_until("all have come", lambda: len(told()) >= len(wanted), 30)
        assert [line for line in told()] == shown(["--url", url], "--type", "svid.issued")[-len(wanted):]
        indexes = [int(line.split("\t")[0]) for line in lines()]
        assert indexes == sorted(set(indexes)), indexes
        assert all(f'"{one}"' in line for one, line in zip(wanted, told())), told()
        daemon.stop()

    with s.check("an index keeps up with the ledger, finds what a whole check finds, and reads no more than is new"):
        index = s.path("ledger.index")

        def found(place, *words):
            return shown(place, "--index", index, *words)
        for place in (["--dir", folder], ["--url", url]):
            for words in (("--spiffe-id", server.id("/late7")), ("--spiffe-id", server.id("/nobody"))):
                assert found(place, *words) == shown(place, *words), words
        name = mint("/late7")
        wait_until("the second is there", lambda: len(found(["--url", url], "--spiffe-id", name)) == 2)
        both = found(["--dir", folder], "--spiffe-id", name)
        assert both == shown(["--dir", folder], "--spiffe-id", name)
        serial = json.loads(both[1].split("\t")[1])["serial"]
        assert found(["--dir", folder], "--serial", serial.upper()) == both[1:]
        assert found(["--dir", folder], "--spiffe-id", name, "--last", "1") == both[1:]
        assert found(["--dir", folder], "--spiffe-id", name, "--type", "entry") == []
        proofs = s.path("proofs")
        found(["--dir", folder], "--spiffe-id", name, "--prove", proofs)
        assert len(os.listdir(proofs)) == 2
        done = ledger("show", "--dir", folder, "--type", "svid", "--index", index, key=key)
        assert done.returncode == 1 and "--spiffe-id" in done.stderr, done

    with s.check("an index of another log is refused, and a leaf that was edited is not shown from it"):
        copy = s.path("edited")
        shutil.copytree(folder, copy)
        for base, _, files in os.walk(os.path.join(copy, "tile", "entries")):
            for file in files:
                path = os.path.join(base, file)
                with open(path, "rb") as stream:
                    old = stream.read()
                with open(path, "wb") as stream:
                    stream.write(old.replace(b"/late7", b"/late8"))
        done = ledger("show", "--dir", copy, "--spiffe-id", name, "--index", index, key=key)
        assert done.returncode == 1, done
        assert "does not hold" in done.stderr and not done.stdout, done
        other = log.Key("example.org/ledger", bytes(range(32)))
        done = ledger("show", "--dir", folder, "--spiffe-id", name, "--index", index, key=other.vkey)
        assert done.returncode == 1 and "another log" in done.stderr, done

    server.stop()
    with s.check("with a certificate it is served over HTTPS, to whoever trusts that"):
        web = WebAuthority(s)
        files = {"cert_file_path": s.path("ledger.crt"), "key_file_path": s.path("ledger.key")}
        web.issue(*files.values(), "localhost")
        server.write_config(ledger={"address": "127.0.0.1", "port": port, "serving_cert_file": files})
        words = [binary("cygnet"), "ledger", "verify", "--url", f"https://localhost:{port}", "--key", key]
        trusted = trusting(web.file, words)
        server.start()
        done = run(trusted)
        assert done.returncode == 0 and "holds" in done.stdout, done
        done = run(words)
        assert done.returncode == 1 and "certificate" in done.stderr.lower(), done
        done = ledger("verify", "--url", url, key=key)
        assert done.returncode == 1, "it answers without TLS"
        server.stop()

    old = os.path.join(s.folder, "copy")
    shutil.copytree(folder, old)

    with s.check("tail ends when the log that it follows gets shorter, or is another one"):
        forger = log.Key("other.test/ledger", bytes(range(32)))
        leaves = [log.issued(number) for number in range(600)]
        other = [b'{"forged":true}'] * 700
        for name, begin, then, says in (
                ("shorter", leaves, leaves[:500], "missing: the log was longer a moment ago"),
                ("forked", leaves, other, "does not continue")):
            place = os.path.join(s.folder, f"site-{name}")
            log.write(place, forger, begin)
            daemon, lines = follow(s, f"tail-{name}", Site(s, place).url, forger.vkey, "--last", "1")
            wait_until("the first leaf is printed", lines)
            assert lines() == [f"{len(begin) - 1}\t{begin[-1].decode()}"], lines()
            # The checkpoint last, as a server writes it.
            fresh = os.path.join(s.folder, f"then-{name}")
            log.write(fresh, forger, then)
            shutil.copytree(os.path.join(fresh, "tile"), os.path.join(place, "tile"), dirs_exist_ok=True)
            os.replace(os.path.join(fresh, "checkpoint"), os.path.join(place, "checkpoint"))
            assert daemon.wait(20) == 1, daemon.log_tail()
            assert says in daemon.log() and "forged" not in daemon.log().split("rror")[0], daemon.log_tail()

    with s.check("a copy behind any web server is as good as the server itself"):
        done = ledger("verify", "--url", Site(s, old).url, key=key)
        assert done.returncode == 0, done.stderr
