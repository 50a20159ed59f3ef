#!/usr/bin/env python3
"""Writes vectors.json beside this file: what the formats say, computed without Cygnet. Needs `cryptography`.

    python3 make_vectors.py
"""
import base64
import hashlib
import json
import os
import struct

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

HERE = os.path.dirname(os.path.abspath(__file__))


def sha(data):
    return hashlib.sha256(data).digest()


def leaf_hash(data):
    return sha(b"\x00" + data)


def split(count):
    power = 1
    while power * 2 < count:
        power *= 2
    return power


def root(hashes):
    """MTH of RFC 6962 2.1, by the definition."""
    if not hashes:
        return sha(b"")
    if len(hashes) == 1:
        return hashes[0]
    middle = split(len(hashes))
    return sha(b"\x01" + root(hashes[:middle]) + root(hashes[middle:]))


def path(index, hashes):
    """PATH of RFC 6962 2.1.1."""
    if len(hashes) == 1:
        return []
    middle = split(len(hashes))
    if index < middle:
        return path(index, hashes[:middle]) + [root(hashes[middle:])]
    return path(index - middle, hashes[middle:]) + [root(hashes[:middle])]


def proof(old, hashes, whole=True):
    """PROOF of RFC 6962 2.1.2."""
    if old == len(hashes):
        return [] if whole else [root(hashes)]
    middle = split(len(hashes))
    if old <= middle:
        return proof(old, hashes[:middle], whole) + [root(hashes[middle:])]
    return proof(old - middle, hashes[middle:], False) + [root(hashes[:middle])]


def tile_path(level, index, width=256):
    parts = [f"{index % 1000:03d}"]
    while index >= 1000:
        index //= 1000
        parts.insert(0, f"x{index % 1000:03d}")
    return f"tile/{level}/{'/'.join(parts)}" + (f".p/{width}" if width < 256 else "")


def tiles(entries):
    """All files below a log's prefix, by path."""
    files = {}
    for start in range(0, len(entries), 256):
        part = entries[start:start + 256]
        files[tile_path("entries", start // 256, len(part))] = b"".join(
            struct.pack(">H", len(entry)) + entry for entry in part)
    row, level = [leaf_hash(entry) for entry in entries], 0
    while row:
        for start in range(0, len(row), 256):
            part = row[start:start + 256]
            files[tile_path(level, start // 256, len(part))] = b"".join(part)
        row = [root(row[start:start + 256]) for start in range(0, len(row) - 255, 256)]
        level += 1
    return files


def digest(files):
    return sha("".join(f"{name} {sha(files[name]).hex()}\n" for name in sorted(files)).encode()).hex()


def b64(data):
    return base64.b64encode(data).decode()


class Key:
    def __init__(self, name, seed, algorithm):
        self.name, self.algorithm = name, algorithm
        self.private = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = self.private.public_key().public_bytes(
            serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        self.id = sha(name.encode() + b"\n" + bytes([algorithm]) + self.public)[:4]

    @property
    def vkey(self):
        return f"{self.name}+{self.id.hex()}+{b64(bytes([self.algorithm]) + self.public)}"

    def line(self, text, time=0):
        if self.algorithm == 4:
            signature = struct.pack(">Q", time) + self.private.sign(
                f"cosignature/v1\ntime {time}\n".encode() + text)
        else:
            signature = self.private.sign(text)
        return f"— {self.name} {b64(self.id + signature)}\n".encode()


def checkpoint(origin, size, top, more=()):
    return "".join(line + "\n" for line in (origin, str(size), b64(top), *more)).encode()


def ecmascript(value):
    """Number::toString from Python's shortest digits."""
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    mantissa, _, exponent = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    fraction = "" if fraction == "0" else fraction
    digits, place = whole + fraction, len(whole) + int(exponent or 0)
    place -= len(digits) - len(digits.lstrip("0"))
    digits = digits.strip("0")
    count = len(digits)
    if count <= place <= 21:
        return sign + digits + "0" * (place - count)
    if 0 < place <= 21:
        return sign + digits[:place] + "." + digits[place:]
    if -6 < place <= 0:
        return sign + "0." + "0" * -place + digits
    power = place - 1
    return (sign + digits[0] + ("." + digits[1:] if count > 1 else "")
            + f"e{'-' if power < 0 else '+'}{abs(power)}")


def main():
    # The eight leaves that Certificate Transparency's own tests use, with their published roots.
    ct = [bytes.fromhex(text) for text in (
        "", "00", "10", "2021", "3031", "40414243", "5051525354555657",
        "606162636465666768696a6b6c6d6e6f")]
    published = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"]
    for count, expected in enumerate(published):
        assert root([leaf_hash(data) for data in ct[:count]]).hex() == expected, count

    # Leaf number i of the others is the text "leaf i".
    entries = [f"leaf {number}".encode() for number in range(70_000)]
    hashes = [leaf_hash(entry) for entry in entries]
    sizes = list(range(0, 301)) + [511, 512, 513, 65_535, 65_536, 65_537, 70_000]
    roots = {str(size): root(hashes[:size]).hex() for size in sizes}
    inclusion = [
        {"index": index, "size": size, "path": [item.hex() for item in path(index, hashes[:size])]}
        for size, index in ((1, 0), (2, 1), (3, 2), (7, 3), (8, 7), (255, 254), (256, 0), (257, 256),
                            (300, 17), (300, 256), (300, 299), (513, 511), (70_000, 0),
                            (70_000, 65_535), (70_000, 69_999))]
    consistency = [
        {"old": old, "new": new, "path": [item.hex() for item in proof(old, hashes[:new])]}
        for old, new in ((1, 2), (1, 3), (2, 3), (3, 7), (4, 7), (6, 8), (255, 256), (256, 257), (257, 300),
                         (299, 300), (300, 70_000), (65_536, 70_000), (65_537, 70_000))]
    logs = {str(size): digest(tiles(entries[:size])) for size in (0, 1, 255, 256, 257, 600, 65_536, 70_000)}

    log = Key("ledger.example/log", bytes(range(32)), 1)
    other = Key("ledger.example/log", bytes(range(1, 33)), 1)
    witnesses = [Key(f"witness.example/w{number}", bytes([number] * 32), 4) for number in (1, 2)]
    text = checkpoint(log.name, 300, root(hashes[:300]))
    signed = text + b"\n" + log.line(text)
    cosigned = signed + witnesses[0].line(text, 1_700_000_000) + witnesses[1].line(text, 1_700_000_001)
    extended = checkpoint(log.name, 2, root(hashes[:2]), ("timestamp 12", "émile"))

    def proof_file(note, index, extra=None):
        lines = ["c2sp.org/tlog-proof@v1"]
        if extra is not None:
            lines.append("extra " + b64(extra))
        lines.append(f"index {index}")
        lines += [b64(item) for item in path(index, hashes[:300])]
        return ("\n".join(lines) + "\n\n").encode() + note

    def request(old, old_size, new_size):
        text = checkpoint(log.name, new_size, root(hashes[:new_size]))
        lines = [f"old {old}"]
        if old_size:
            lines += [b64(item) for item in proof(old_size, hashes[:new_size])]
        return ("\n".join(lines) + "\n\n").encode() + text + b"\n" + log.line(text)

    # Examples from the specifications and from golang.org/x/mod/sumdb/note: facts, and checked here.
    notes = [
        ("C2SP signed-note", "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
         "This is an example message.\n\n— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK"
         "7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"),
        ("golang.org/x/mod/sumdb/note", "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
         "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n"
         "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyB"
         "wJnAM=\n")]
    for _, vkey, note in notes:
        name, key_id, material = vkey.split("+", 2)
        material = base64.b64decode(material)
        assert sha(name.encode() + b"\n" + material)[:4].hex() == key_id
        body, _, line = note.rpartition("\n\n")
        signature = base64.b64decode(line.split(" ")[2])
        assert signature[:4].hex() == key_id
        Ed25519PublicKey.from_public_bytes(material[1:]).verify(signature[4:], (body + "\n").encode())

    # RFC 8785 appendix B.
    numbers = {
        "0000000000000000": "0", "8000000000000000": "0", "0000000000000001": "5e-324",
        "8000000000000001": "-5e-324", "7fefffffffffffff": "1.7976931348623157e+308",
        "ffefffffffffffff": "-1.7976931348623157e+308", "4340000000000000": "9007199254740992",
        "c340000000000000": "-9007199254740992", "4430000000000000": "295147905179352830000",
        "44b52d02c7e14af5": "9.999999999999997e+22", "44b52d02c7e14af6": "1e+23",
        "44b52d02c7e14af7": "1.0000000000000001e+23", "444b1ae4d6e2ef4e": "999999999999999700000",
        "444b1ae4d6e2ef4f": "999999999999999900000", "444b1ae4d6e2ef50": "1e+21",
        "3eb0c6f7a0b5ed8c": "9.999999999999997e-7", "3eb0c6f7a0b5ed8d": "0.000001",
        "41b3de4355555553": "333333333.3333332", "41b3de4355555554": "333333333.33333325",
        "41b3de4355555555": "333333333.3333333", "41b3de4355555556": "333333333.3333334",
        "41b3de4355555557": "333333333.33333343", "becbf647612f3696": "-0.0000033333333333333333",
        "43143ff3c1cb0959": "1424953923781206.2"}
    for bits, expected in numbers.items():
        assert ecmascript(struct.unpack(">d", bytes.fromhex(bits))[0]) == expected, bits

    document = {
        "source": "Tests/TransparencyTests/Vectors/make_vectors.py",
        "ctLeaves": [data.hex() for data in ct], "ctRoots": published,
        "roots": roots, "inclusion": inclusion, "consistency": consistency, "logs": logs,
        "logSeed": bytes(range(32)).hex(), "logKey": log.vkey, "otherKey": other.vkey,
        "witnessSeeds": [bytes([number] * 32).hex() for number in (1, 2)],
        "witnessKeys": [key.vkey for key in witnesses],
        "checkpoint": signed.decode(), "cosigned": cosigned.decode(),
        "extended": (extended + b"\n" + log.line(extended)).decode(),
        "proof": proof_file(cosigned, 17, b"leaf 17").decode(),
        "proofWithoutExtra": proof_file(signed, 299).decode(),
        "requests": {"0-100": request(0, 0, 100).decode(), "100-300": request(100, 100, 300).decode(),
                     "wrong-proof": request(100, 99, 300).decode(),
                     "conflict": request(50, 50, 300).decode()},
        "notes": [{"source": source, "key": vkey, "note": note} for source, vkey, note in notes],
        "numbers": [{"bits": bits, "text": text} for bits, text in numbers.items()],
    }
    with open(os.path.join(HERE, "vectors.json"), "w", encoding="utf-8") as file:
        json.dump(document, file, indent=1, ensure_ascii=False)
        file.write("\n")


if __name__ == "__main__":
    main()
