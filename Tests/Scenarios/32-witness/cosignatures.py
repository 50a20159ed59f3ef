"""Cosignatures of witnesses, and requests to them, from the published formats (C2SP tlog-cosignature, tlog-witness)."""
import base64
import hashlib
import http.client
import struct

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def parse(vkey):
    """(name, key ID, algorithm, public key) of a verifier key whose ID is right."""
    name, key_id, material = vkey.split("+", 2)
    material = base64.b64decode(material, validate=True)
    assert hashlib.sha256(name.encode() + b"\n" + material).digest()[:4].hex() == key_id, "key ID"
    return name, bytes.fromhex(key_id), material[0], material[1:]


def cosigned(note, vkey):
    """The time of the witness's cosignature below a note; None without one. Raises when it does not verify."""
    name, key_id, algorithm, public = parse(vkey)
    assert algorithm == 4, "not the key of a witness"
    text, _, lines = note.rpartition(b"\n\n")
    text += b"\n"
    for line in lines.decode().splitlines():
        dash, signer, signature = line.split(" ")
        data = base64.b64decode(signature, validate=True)
        if (dash, signer, data[:4]) == ("\u2014", name, key_id):
            (time,) = struct.unpack(">Q", data[4:12])
            message = f"cosignature/v1\ntime {time}\n".encode() + text
            Ed25519PublicKey.from_public_bytes(public).verify(data[12:], message)
            return time
    return None


def add_checkpoint(port, old, path, note):
    """(status, content type, body) of a witness's answer."""
    body = f"old {old}\n".encode() + b"".join(
        base64.b64encode(item) + b"\n" for item in path) + b"\n" + note
    return post(port, body)


def post(port, body, path="/add-checkpoint", method="POST", headers=None, tls=None):
    """The same of any request; `tls` is an SSL context for a witness that has HTTPS."""
    if tls:
        connection = http.client.HTTPSConnection("localhost", port, timeout=20, context=tls)
    else:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, answer.headers.get("content-type"), answer.read()
    finally:
        connection.close()
