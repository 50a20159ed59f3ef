"""Ledgers and proofs between `cygnet ledger` and a Python program that shares no code with it."""
import os
import re
import shutil

import log
from harness import binary, main, run

KEY = log.Key("example.org/ledger", bytes(range(32)))
OTHER = log.Key("example.org/ledger", bytes(range(1, 33)))
WITNESSES = [log.Key(f"witness.example/w{number}", bytes([number] * 32), 4) for number in (1, 2)]
SIZE = 1000


def ledger(*words, key=KEY.vkey):
    return run([binary("cygnet"), "ledger", *words, "--key", key])


def holds(*words, **options):
    done = ledger(*words, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def fails(*words, says, **options):
    done = ledger(*words, **options)
    assert done.returncode == 1, (done.returncode, done.stdout)
    assert re.search(says, done.stderr), done.stderr
    return done.stderr


def body(s):
    leaves = [log.issued(number) for number in range(SIZE)]
    good = os.path.dirname(s.path("good", "x"))
    log.write(good, KEY, leaves, WITNESSES)
    old = {}
    for size in (100, 600):
        old[size] = s.path(f"old-{size}")
        with open(old[size], "wb") as file:
            file.write(log.checkpoint(KEY, leaves[:size]))
    against = [word for size in old for word in ("--against", old[size])]

    def copy(name):
        folder = os.path.join(s.folder, name)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(good, folder)
        return folder

    def edit(folder, name, place):
        with open(os.path.join(folder, name), "r+b") as file:
            file.seek(place)
            byte = file.read(1)[0]
            file.seek(place)
            file.write(bytes([byte ^ 1]))

    with s.check("logs of many sizes that Python wrote hold"):
        for size in (0, 1, 2, 255, 256, 257, 511, 513):
            folder = os.path.dirname(s.path(f"size-{size}", "x"))
            log.write(folder, KEY, leaves[:size])
            assert f"holds: {size} leaves" in holds("verify", "--dir", folder)

    with s.check("a log begins with older checkpoints and is cosigned"):
        text = holds("verify", "--dir", good, *against, "--witness", WITNESSES[0].vkey,
                     "--witness", WITNESSES[1].vkey)
        assert "begins with the 100 leaves" in text and "begins with the 600 leaves" in text, text
        assert text.count("cosigned by witness.example/w") == 2, text

    with s.check("the key may be in a file"):
        with open(s.path("vkey"), "w", encoding="utf-8") as file:
            file.write(KEY.vkey + "\n")
        holds("verify", "--dir", good, key=s.path("vkey"))

    with s.check("another key, no key, no folder and no checkpoint are refused"):
        fails("verify", "--dir", good, key=OTHER.vkey, says="checkpoint")
        fails("verify", "--dir", good, key="rubbish", says="no verifier key")
        fails("verify", "--dir", s.path("nowhere"), says="no folder")
        os.makedirs(s.path("empty", "x"))
        fails("verify", "--dir", s.path("empty"), says="checkpoint")

    with s.check("an edited entry is named by its index"):
        folder = copy("edited")
        # The first byte of the first entry of the third bundle, behind its length.
        edit(folder, "tile/entries/002", 2)
        fails("verify", "--dir", folder, says="leaf 512:")

    with s.check("edited, cut and missing tiles are named by their paths"):
        for name in ("tile/0/001", "tile/0/003.p/232", "tile/1/000.p/3"):
            folder = copy("tile")
            edit(folder, name, 40)
            fails("verify", "--dir", folder, says=re.escape(f"{name}:"))
            with open(os.path.join(folder, name), "r+b") as file:
                file.truncate(33)
            fails("verify", "--dir", folder, says=re.escape(f"{name}:"))
            os.remove(os.path.join(folder, name))
            fails("verify", "--dir", folder, says=re.escape(f"{name}:"))

    with s.check("a log made anew with its own key is caught by an older checkpoint"):
        folder = os.path.dirname(s.path("anew", "x"))
        log.write(folder, KEY, leaves[:300] + [b'{"forged":true}'] + leaves[301:])
        holds("verify", "--dir", folder)
        fails("verify", "--dir", folder, *against, says="leaves 100 to 599:")

    with s.check("files made anew without the key do not lead to the checkpoint"):
        folder = os.path.dirname(s.path("unsigned", "x"))
        log.write(folder, KEY, leaves[:800] + [b'{"forged":true}'] + leaves[801:])
        shutil.copy(os.path.join(good, "checkpoint"), os.path.join(folder, "checkpoint"))
        fails("verify", "--dir", folder, *against, says="leaves 600 to 999:")

    with s.check("a tail that was cut off is named from its first leaf"):
        folder = os.path.dirname(s.path("cut", "x"))
        log.write(folder, KEY, leaves[:450])
        fails("verify", "--dir", folder, *against, says="leaves 450 to 599: missing")

    with s.check("a pipe in the place of a file does not stop the check"):
        folder = copy("pipe")
        os.remove(os.path.join(folder, "tile/0/000"))
        os.mkfifo(os.path.join(folder, "tile/0/000"))
        fails("verify", "--dir", folder, says="no file")

    with s.check("proofs that cygnet wrote hold for Python"):
        for number in (0, 255, 256, 767, 999):
            out = s.path("one.tlog-proof")
            holds("prove", "--dir", good, "--serial", f"{number + 4096:X}", "--out", out)
            with open(out, "rb") as file:
                data = file.read()
            assert log.verify_proof(data, KEY.vkey) == (number, leaves[number])
            assert data == log.proof(KEY, leaves, number, cosigners=WITNESSES)
            assert leaves[number].decode() in holds("check", out)

    with s.check("proofs that Python wrote hold for cygnet, with and without the leaf in them"):
        for number in (0, 1, 511, 512, 999):
            out = s.path("two.tlog-proof")
            with open(out, "wb") as file:
                file.write(log.proof(KEY, leaves, number))
            assert f"leaf {number} of example.org/ledger" in holds("check", out)
            with open(out, "wb") as file:
                file.write(log.proof(KEY, leaves, number, extra=False))
            fails("check", out, says="does not have its leaf")
            with open(s.path("leaf"), "wb") as file:
                file.write(leaves[number])
            holds("check", out, "--leaf", s.path("leaf"))
            with open(s.path("leaf"), "wb") as file:
                file.write(leaves[number - 1])
            fails("check", out, "--leaf", s.path("leaf"), says="does not show")

    with s.check("a proof with a changed leaf, a changed path, another key or too few witnesses is refused"):
        out = s.path("three.tlog-proof")
        genuine = log.proof(KEY, leaves, 77, cosigners=WITNESSES[:1])
        with open(out, "wb") as file:
            file.write(genuine)
        holds("check", out, "--witness", WITNESSES[0].vkey)
        fails("check", out, key=OTHER.vkey, says="no signature")
        fails("check", out, "--witness", WITNESSES[0].vkey, "--witness", WITNESSES[1].vkey,
              says="1 of 2 witnesses")
        holds("check", out, "--witness", WITNESSES[0].vkey, "--witness", WITNESSES[1].vkey,
              "--quorum", "1")
        for wrong in (genuine.replace(b"index 77", b"index 78"), genuine[:-100], b"", genuine[40:],
                      log.proof(KEY, leaves, 78).replace(b"index 78", b"index 77")):
            with open(out, "wb") as file:
                file.write(wrong)
            fails("check", out, says="error: ")

    with s.check("what is shown was checked, and is what was asked for"):
        lines = holds("show", "--dir", good, "--spiffe-id", "spiffe://example.org/w3").splitlines()
        assert lines == [f"{number}\t{leaves[number].decode()}" for number in range(3, SIZE, 7)]
        lines = holds("show", "--dir", good, "--since", "2026-01-28T00:00:00Z", "--last", "2").splitlines()
        assert [line.split("\t")[0] for line in lines] == ["951", "979"], lines
        folder = copy("shown")
        edit(folder, "tile/entries/002", 2)
        done = ledger("show", "--dir", folder, "--serial", "1000")
        assert done.returncode == 1 and not done.stdout and "leaf 512" in done.stderr, done

    with s.check("a selection that fits several leaves or none is not guessed at"):
        fails("prove", "--dir", good, "--spiffe-id", "spiffe://example.org/w3", says="several leaves")
        fails("prove", "--dir", good, "--serial", "ffffff", says="no leaf")
        fails("prove", "--dir", good, says="no leaf is named")
        fails("prove", "--dir", good, "--index", "1000", says="no leaf 1000")


main(__file__, body)
