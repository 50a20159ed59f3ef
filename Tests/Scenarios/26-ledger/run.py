"""A real server's ledger: verified, proved, attacked, and written through kill -9."""
import os
import re
import shutil
import sys
import threading
import time

from harness import Server, binary, main, run, wait_until

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "24-ledger-offline")]
import full_disk  # noqa: E402
import log  # noqa: E402
import served  # noqa: E402


def ledger(*words, key):
    return run([binary("cygnet"), "ledger", *words, "--key", key])


def body(s):
    server = Server(s).start()
    folder = os.path.join(server.data_dir, "ledger")

    def mint(number):
        return server.cli("x509", "mint", "-spiffeID", server.id(f"/w{number}"))

    with s.check("the key is printed, and verifies what the server wrote"):
        key = server.ok("ledger", "key").strip()
        assert key.startswith("example.org/ledger+"), key
        for number in range(20):
            assert mint(number).returncode == 0
        done = ledger("verify", "--dir", folder, key=key)
        assert done.returncode == 0, done.stderr

    def issued(number):
        done = ledger("show", "--dir", folder, "--spiffe-id", server.id(f"/w{number}"), key=key)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    with s.check("everything that was issued is in it, and is proved to Python"):
        wait_until("the last leaf is published", lambda: issued(19))
        for number in range(20):
            (line,) = issued(number)
            index, leaf = line.split("\t")
            out = s.path("one.tlog-proof")
            done = ledger("prove", "--dir", folder, "--index", index, "--out", out, key=key)
            assert done.returncode == 0, done.stderr
            with open(out, "rb") as file:
                assert log.verify_proof(file.read(), key) == (int(index), leaf.encode())

    old = s.path("old-checkpoint")
    shutil.copy(os.path.join(folder, "checkpoint"), old)

    with s.check("kill -9 while SVIDs are issued loses none that was handed out"):
        acknowledged, enough = [], threading.Event()

        def load():
            number = 1000
            while not enough.is_set():
                number += 1
                if mint(number).returncode == 0:
                    acknowledged.append(number)

        for _ in range(3):
            enough.clear()
            thread = threading.Thread(target=load, daemon=True)
            thread.start()
            time.sleep(1)
            server.kill()
            enough.set()
            thread.join(60)
            server.start()
        assert server.ok("ledger", "key").strip() == key
        assert acknowledged
        text = ledger("show", "--dir", folder, "--type", "svid.issued", key=key).stdout
        for number in acknowledged:
            assert f'"{server.id(f"/w{number}")}"' in text, number
        done = ledger("verify", "--dir", folder, "--against", old, key=key)
        assert done.returncode == 0, done.stderr

    server.stop()

    def attacked(name, body, says, **options):
        copy = os.path.join(s.folder, name)
        shutil.copytree(folder, copy)
        body(copy)
        done = ledger("verify", "--dir", copy, "--against", old, key=options.get("key", key))
        assert done.returncode == 1 and re.search(says, done.stderr), done.stderr

    def first(copy, level):
        place = os.path.join(copy, "tile", level, "000")
        if os.path.exists(place):
            return place
        widths = sorted(os.listdir(place + ".p"), key=int)
        return os.path.join(place + ".p", widths[-1])

    def edit(place, offset):
        with open(place, "r+b") as file:
            file.seek(offset)
            byte = file.read(1)[0]
            file.seek(offset)
            file.write(bytes([byte ^ 1]))

    with s.check("an edited entry, an edited tile, a cut tail and a foreign log are caught and named"):
        attacked("entry", lambda copy: edit(first(copy, "entries"), 2), r"leaf 0:")
        attacked("tile", lambda copy: edit(first(copy, "0"), 40), r"tile/0/000")
        other = log.Key("example.org/ledger", bytes(range(32)))
        attacked("foreign", lambda copy: log.write(copy, other, [b"{}"] * 3), r"checkpoint")

        def forge(copy):
            shutil.rmtree(copy)
            os.mkdir(copy)
            log.write(copy, other, [log.issued(number) for number in range(3)])
        copy = os.path.join(s.folder, "forged")
        shutil.copytree(folder, copy)
        forge(copy)
        done = ledger("verify", "--dir", copy, key=key)
        assert done.returncode == 1 and "checkpoint" in done.stderr, done.stderr

    served.body(s)
    full_disk.body(s)


main(__file__, body)
