"""A server's ledger is cosigned by two witnesses; a ledger that shows two histories is not."""
import base64
import hashlib
import json
import os
import shutil
import stat
import sys
import time

from harness import Server, binary, main, run, wait_until

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, "..", "24-ledger-offline"))
import cosignatures  # noqa: E402
import log  # noqa: E402
import operating  # noqa: E402
from witness import Witness  # noqa: E402


def ledger(*words, key):
    return run([binary("cygnet"), "ledger", *words, "--key", key])


def consistency(old, hashes, known=True):
    """RFC 6962 §2.1.2: the proof that a tree begins with its first `old` leaves."""
    if old == len(hashes):
        return [] if known else [log.root(hashes)]
    middle = log.split(len(hashes))
    if old <= middle:
        return consistency(old, hashes[:middle], known) + [log.root(hashes[middle:])]
    return consistency(old - middle, hashes[middle:], False) + [log.root(hashes[:middle])]


def seed_of(server):
    """The ledger's private key, taken from the server's disk as a thief would."""
    from cryptography.hazmat.primitives import serialization
    with open(server.keys, encoding="utf-8") as file:
        kept = json.load(file)
    der = base64.b64decode(kept["keys"]["ledger"])
    key = serialization.load_der_private_key(der, None)
    return key.private_bytes(
        serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption())


def body(s):
    server = Server(s).start()
    folder = os.path.join(server.data_dir, "ledger")
    key = server.ok("ledger", "key").strip()
    witnesses = [Witness(s, "one"), Witness(s, "two")]
    for witness in witnesses:
        witness.write(key)

    with s.check("a witness makes its key once, for its owner's eyes only, and prints the public half"):
        vkeys = [witness.key() for witness in witnesses]
        for witness, vkey in zip(witnesses, vkeys):
            assert cosignatures.parse(vkey)[:1] == (f"{witness.name}.witness.test",), vkey
            assert witness.key() == vkey
            mode = os.stat(os.path.join(witness.folder, "key")).st_mode
            assert stat.S_IMODE(mode) == 0o600, oct(mode)
            witness.start()
            assert witness.key() == vkey

    def mint(number):
        done = server.cli("x509", "mint", "-spiffeID", server.id(f"/w{number}"))
        assert done.returncode == 0, done.stderr

    def checkpoint():
        with open(os.path.join(folder, "checkpoint"), "rb") as file:
            return file.read()

    def whole():
        note = checkpoint()
        return note if all(cosignatures.cosigned(note, vkey) for vkey in vkeys) else None

    def size(note):
        return int(note.split(b"\n")[1])

    server.stop()
    blocks = "".join(
        f'witness "{witness.name}" {{ url = "http://127.0.0.1:{witness.port}" key = "{vkey}" }}\n'
        for witness, vkey in zip(witnesses, vkeys))
    with open(server.config, encoding="utf-8") as file:
        text = file.read()
    with open(server.config, "w", encoding="utf-8") as file:
        file.write(text.replace("server {", f"server {{\nledger {{\n{blocks}quorum = 2\n}}\n", 1))
    server.start()
    quorum = [word for vkey in vkeys for word in ("--witness", vkey)] + ["--quorum", "2"]

    def verified():
        """False for a moment after each publication: then nobody has cosigned yet."""
        done = ledger("verify", "--dir", folder, *quorum, key=key)
        assert done.returncode == 0 or "witnesses cosigned" in done.stderr, done.stderr
        return done.returncode == 0

    with s.check("the server's checkpoint gets both cosignatures, and Python verifies them"):
        for number in range(20):
            mint(number)
        note = wait_until("both cosigned", whole)
        log.verify_note(note, key)
        for vkey in vkeys:
            assert abs(cosignatures.cosigned(note, vkey) - time.time()) < 300
        mint(20)
        grown = wait_until(
            "the next one too", lambda: (whole() or b"") if size(checkpoint()) > size(note) else b"")
        assert size(grown) > size(note)
        wait_until("verified with a quorum", verified)

    with s.check("monitors read the checkpoint that a witness cosigned last"):
        origin = hashlib.sha256(key.split("+")[0].encode()).hexdigest()
        status, _, kept = cosignatures.post(
            witnesses[0].port, None, path=f"/{origin}/checkpoint", method="GET")
        assert status == 200 and cosignatures.cosigned(kept, vkeys[0])
        log.verify_note(kept, key)
        assert cosignatures.post(
            witnesses[0].port, None, path=f"/{'0' * 64}/checkpoint", method="GET")[0] == 404

    with s.check("issuance does not wait for witnesses that are gone, and kill -9 loses no memory"):
        for witness in witnesses:
            witness.daemon.kill()
        for number in range(30, 40):
            mint(number)
        wait_until("a checkpoint that nobody cosigned", lambda: whole() is None)
        before = size(checkpoint())
        done = ledger("verify", "--dir", folder, *quorum, key=key)
        assert done.returncode == 1 and "cosign" in done.stderr.lower(), done.stderr
        for witness in witnesses:
            witness.start()
        note = wait_until("cosigned again", whole, timeout=60)
        assert size(note) >= before
        wait_until("verified with a quorum", verified)

    server.stop()
    old = wait_until("the checkpoint after the stop", checkpoint)
    leaves = read_leaves(folder, size(old))

    def known_to(witness):
        status, kind, known = cosignatures.add_checkpoint(witness.port, 0, [], old)
        assert (status, kind) == (409, "text/x.tlog.size"), (status, kind)
        assert 0 < int(known) <= size(old)
        return int(known)

    thief = log.Key(key.split("+")[0], seed_of(server))
    assert thief.vkey == key, "the thief has the ledger's key"
    forged = [log.issued(number) for number in range(len(leaves) + 5)]
    hashes = [log.leaf_hash(leaf) for leaf in forged]

    with s.check("a history that the ledger's own key signed a second time is not cosigned"):
        for witness in witnesses:
            known = known_to(witness)
            for asked, path, expected in [
                    (known, consistency(known, hashes), 422), (known, [], 422), (0, [], 409)]:
                status, _, _ = cosignatures.add_checkpoint(
                    witness.port, asked, path, log.checkpoint(thief, forged))
                assert status == expected, (witness.name, asked, status)
            status, _, _ = cosignatures.add_checkpoint(
                witness.port, known, [], log.checkpoint(thief, forged[:known]))
            assert status in (409, 422), status
            kept = os.listdir(os.path.join(witness.folder, "evidence"))
            assert len(kept) == 2, kept
            assert "two checkpoints of one size" in witness.daemon.log()

    with s.check("cygnet ledger verify refuses it for want of a quorum"):
        fork = os.path.join(s.folder, "fork")
        log.write(fork, thief, forged)
        done = ledger("verify", "--dir", fork, key=key)
        assert done.returncode == 0, "without witnesses nobody can tell"
        done = ledger("verify", "--dir", fork, *quorum, key=key)
        assert done.returncode == 1 and "cosign" in done.stderr.lower(), done.stderr
        # Cosignatures of the true checkpoint do not fit the false one.
        lines = b"".join(
            line + b"\n" for line in note.split(b"\n\n")[1].splitlines()
            if b".witness.test " in line)
        with open(os.path.join(fork, "checkpoint"), "ab") as file:
            file.write(lines)
        done = ledger("verify", "--dir", fork, *quorum, key=key)
        assert done.returncode == 1, done.stdout

    with s.check("the true history goes on"):
        more = leaves + [log.issued(1)]
        for witness, vkey in zip(witnesses, vkeys):
            known = known_to(witness)
            path = consistency(known, [log.leaf_hash(leaf) for leaf in more])
            answer = log.checkpoint(thief, more)
            status, _, line = cosignatures.add_checkpoint(witness.port, known, path, answer)
            assert status == 200, (status, line)
            assert cosignatures.cosigned(answer + line, vkey)

    with s.check("hostile requests get a clear answer, and the witness lives"):
        stranger = log.Key("elsewhere.test/ledger", bytes(range(32)))
        impostor = log.Key(thief.name, bytes(range(32)))
        port = witnesses[0].port
        for expected, data in [
                (404, b"old 0\n\n" + log.checkpoint(stranger, [b"x"])),
                (403, b"old 0\n\n" + log.checkpoint(impostor, [b"x"])),
                (400, b""), (400, b"old 0\n"), (400, b"old -1\n\n" + old), (400, b"old 00\n\n" + old),
                (400, b"old 99999999999999999999\n\n" + old), (400, b"\x00" * 1000),
                (400, b"old 0\n" + b"AAAA\n" * 3 + b"\n" + old),
                (400, b"old 0\n" + base64.b64encode(b"x" * 32) + b"\n")]:
            status, _, answer = cosignatures.post(port, data)
            assert status == expected and answer.endswith(b"\n"), (expected, status, data[:40])
        # Refused by the head alone; a body that is on its way would hide the answer.
        for expected, options in [
                (413, {"headers": {"Content-Length": str(128 * 1024 + 1)}}),
                (413, {"headers": {"Content-Length": "5"}, "path": "/elsewhere"}),
                (413, {"headers": {"Content-Length": "5"}, "method": "PUT"}),
                (411, {"headers": {"Transfer-Encoding": "chunked"}})]:
            status, _, _ = cosignatures.post(port, None, **options)
            assert status == expected, (expected, status, options)
        assert witnesses[0].answers()

    with s.check("a witness whose memory was replaced does not start"):
        witness = witnesses[1]
        witness.daemon.stop()
        states = os.path.join(witness.folder, "logs")
        (name,) = os.listdir(states)
        shutil.copy(os.path.join(fork, "checkpoint"), os.path.join(states, name))
        done = run([binary("cygnet-server"), "witness", "-config", witness.config])
        assert done.returncode == 1 and "forgets" in done.stderr, done.stderr

    witnesses[0].daemon.stop()
    operating.body(s)


def read_leaves(folder, count):
    """The leaves of a server that has stopped."""
    from harness import ledger as files
    found = []
    for index in range((count + 255) // 256):
        found += files.bundle(folder, index, min(256, count - index * 256))
    assert len(found) == count
    return found


main(__file__, body)
