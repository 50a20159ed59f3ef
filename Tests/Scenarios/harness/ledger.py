"""Reading a server's ledger (docs/ledger.md) from its files."""
import hashlib
import json
import os
import struct


def journal(folder):
    """The size of the log at which the journal begins, and the leaves that it has since then.

    A record that is not whole ends it: nobody was told that its leaves are recorded. Zeros at the end were written ahead.
    """
    with open(os.path.join(folder, "journal"), "rb") as file:
        data = file.read()
    start, leaves = None, []
    while data.strip(b"\0") and len(data) >= 40:
        assert data[:4] == b"CLJ1", "the journal has something that is no record"
        (length,) = struct.unpack(">I", data[4:8])
        content = data[40:40 + length]
        if len(content) < length or hashlib.sha256(content).digest() != data[8:40]:
            break
        (noted,) = struct.unpack(">I", content[:4])
        note, rest = content[4:4 + noted], content[4 + noted:]
        if start is None:
            start = int(note.split(b"\n")[1])
        leaves += entries(rest)
        data = data[40 + length:]
    assert start is not None, "the journal has no record"
    return start, leaves


def entries(data):
    """The leaves of a bundle or record: each after its length in two bytes."""
    found = []
    while data:
        (length,) = struct.unpack(">H", data[:2])
        assert len(data) >= 2 + length, "a leaf is cut"
        found.append(data[2:2 + length])
        data = data[2 + length:]
    return found


def bundle(folder, index, width):
    """At least `width` leaves of a bundle: of the full one, or of a partial one that has so many."""
    digits = f"{index:03d}"
    digits = "0" * (-len(digits) % 3) + digits
    groups = [digits[at:at + 3] for at in range(0, len(digits), 3)]
    path = os.path.join(folder, "tile", "entries",
                        *["x" + group for group in groups[:-1]], groups[-1])
    candidates = [path]
    if os.path.isdir(path + ".p"):
        candidates += [os.path.join(path + ".p", str(one)) for one in sorted(
            int(name) for name in os.listdir(path + ".p") if name.isdigit()) if one >= width]
    for candidate in candidates:
        try:
            with open(candidate, "rb") as file:
                return entries(file.read())[:width]
        except FileNotFoundError:
            continue
    raise AssertionError(f"{path} has no {width} leaves")


def leaves(server):
    """All leaves of a server's ledger, in their order; the server may run."""
    folder = os.path.join(server.data_dir, "ledger")
    start, recent = journal(folder)
    found = []
    for index in range((start + 255) // 256):
        found += bundle(folder, index, min(256, start - index * 256))
    assert len(found) == start
    return [json.loads(leaf) for leaf in found + recent]


def of_type(server, *types):
    """The leaves of these types."""
    return [leaf for leaf in leaves(server) if leaf["type"] in types]


def missing_serials(server, serials):
    """Those serial numbers (lower-case hex, no leading zeros) for which no leaf of an issuance is there."""
    issued = {leaf.get("serial") for leaf in of_type(server, "svid.issued")}
    return [serial for serial in serials if serial.lstrip("0") not in issued]


def missing_tokens(server, tokens):
    """Those tokens for which no leaf of an issuance is there."""
    issued = {leaf["svid_digest"] for leaf in of_type(server, "svid.issued")}
    return [token for token in tokens
            if hashlib.sha256(token.encode()).hexdigest() not in issued]
