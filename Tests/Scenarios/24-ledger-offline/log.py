"""A transparency log in the published C2SP formats, from their descriptions: writes logs and proofs, verifies proofs."""
import base64
import hashlib
import json
import os
import struct

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey


def sha(data):
    return hashlib.sha256(data).digest()


def b64(data):
    return base64.b64encode(data).decode()


def leaf_hash(data):
    return sha(b"\x00" + data)


def node(left, right):
    return sha(b"\x01" + left + right)


def split(count):
    return 1 << (count - 1).bit_length() - 1


def root(hashes):
    if len(hashes) < 2:
        return hashes[0] if hashes else sha(b"")
    middle = split(len(hashes))
    return node(root(hashes[:middle]), root(hashes[middle:]))


def path(index, hashes):
    if len(hashes) == 1:
        return []
    middle = split(len(hashes))
    if index < middle:
        return path(index, hashes[:middle]) + [root(hashes[middle:])]
    return path(index - middle, hashes[middle:]) + [root(hashes[:middle])]


def root_from(index, size, hashed, hashes):
    """RFC 6962: the root that follows from a leaf and its path, by the same recursion."""
    if size == 1:
        return hashed if not hashes else None
    if not hashes:
        return None
    middle = split(size)
    *below, last = hashes
    if index < middle:
        top = root_from(index, middle, hashed, below)
        return top and node(top, last)
    top = root_from(index - middle, size - middle, hashed, below)
    return top and node(last, top)


class Key:
    def __init__(self, name, seed, algorithm=1):
        self.name, self.algorithm = name, algorithm
        self.private = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = self.private.public_key().public_bytes(
            serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        self.id = sha(name.encode() + b"\n" + bytes([algorithm]) + self.public)[:4]
        self.vkey = f"{name}+{self.id.hex()}+{b64(bytes([algorithm]) + self.public)}"

    def line(self, text, time=0):
        message, head = text, b""
        if self.algorithm == 4:
            message, head = f"cosignature/v1\ntime {time}\n".encode() + text, struct.pack(">Q", time)
        return f"— {self.name} {b64(self.id + head + self.private.sign(message))}\n".encode()


def checkpoint(key, leaves, cosigners=()):
    text = f"{key.name}\n{len(leaves)}\n{b64(root([leaf_hash(leaf) for leaf in leaves]))}\n".encode()
    return text + b"\n" + key.line(text) + b"".join(
        witness.line(text, 1_700_000_000) for witness in cosigners)


def tile_name(level, index, width):
    name = f"{index % 1000:03d}"
    while index >= 1000:
        index //= 1000
        name = f"x{index % 1000:03d}/{name}"
    return f"tile/{level}/{name}" + (f".p/{width}" if width < 256 else "")


def write(folder, key, leaves, cosigners=()):
    """Writes a whole log below a folder."""
    files = {"checkpoint": checkpoint(key, leaves, cosigners)}
    row, level = [leaf_hash(leaf) for leaf in leaves], 0
    for start in range(0, len(leaves), 256):
        part = leaves[start:start + 256]
        files[tile_name("entries", start // 256, len(part))] = b"".join(
            struct.pack(">H", len(leaf)) + leaf for leaf in part)
    while row:
        for start in range(0, len(row), 256):
            part = row[start:start + 256]
            files[tile_name(level, start // 256, len(part))] = b"".join(part)
        row = [root(row[start:start + 256]) for start in range(0, len(row) - 255, 256)]
        level += 1
    for name, data in files.items():
        place = os.path.join(folder, name)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        with open(place, "wb") as file:
            file.write(data)


def proof(key, leaves, index, extra=True, cosigners=()):
    """A proof file."""
    lines = ["c2sp.org/tlog-proof@v1"] + (["extra " + b64(leaves[index])] if extra else [])
    lines.append(f"index {index}")
    lines += [b64(item) for item in path(index, [leaf_hash(leaf) for leaf in leaves])]
    return ("\n".join(lines) + "\n\n").encode() + checkpoint(key, leaves, cosigners)


def verify_note(note, vkey):
    """The text of a note that this key signed; raises otherwise."""
    name, key_id, material = vkey.split("+", 2)
    material = base64.b64decode(material, validate=True)
    assert sha(name.encode() + b"\n" + material)[:4].hex() == key_id, "key ID"
    text, _, lines = note.rpartition(b"\n\n")
    text += b"\n"
    for line in lines.decode().splitlines():
        dash, signer, signature = line.split(" ")
        data = base64.b64decode(signature, validate=True)
        if (dash, signer, data[:4].hex()) == ("—", name, key_id):
            Ed25519PublicKey.from_public_bytes(material[1:]).verify(data[4:], text)
            return text
    raise InvalidSignature("no signature by this key")


def verify_proof(data, vkey):
    """(index, leaf) that a proof file proves; raises when it does not."""
    head, _, note = data.partition(b"\n\n")
    lines = head.decode().split("\n")
    assert lines.pop(0) == "c2sp.org/tlog-proof@v1"
    leaf = base64.b64decode(lines.pop(0).removeprefix("extra "), validate=True)
    index = int(lines.pop(0).removeprefix("index "))
    origin, size, top = verify_note(note, vkey).decode().split("\n")[:3]
    assert origin == vkey.split("+")[0], "origin"
    found = root_from(index, int(size), leaf_hash(leaf), [base64.b64decode(line) for line in lines])
    assert found == base64.b64decode(top), "root"
    return index, leaf


def issued(number):
    """A leaf of Cygnet's schema, in canonical form."""
    return json.dumps({
        "v": 1, "type": "svid.issued", "time": f"2026-01-{number % 28 + 1:02d}T00:00:00Z", "svid_type": "x509",
        "spiffe_id": f"spiffe://example.org/w{number % 7}", "serial": f"{number + 4096:x}", "caller": "uid:0",
        "svid_digest": sha(str(number).encode()).hex(), "not_after": "2026-02-01T00:00:00Z",
        "authority_id": "a1"}, sort_keys=True, separators=(",", ":")).encode()
