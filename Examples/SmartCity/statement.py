"""Custody statements and receipts in Python: docs/custody.md with `cryptography` and grpcio, and nothing of Cygnet's."""
import base64
import hashlib
import json
import os
import time

import grpc
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding

STATEMENT, RECEIPT = "custody+jwt", "custody-receipt+jwt"


class Invalid(Exception):
    """A statement or receipt that does not hold."""


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def digest(text):
    return hashlib.sha256(text.encode()).digest()


def sign(kind, claims, chain, key):
    """A compact JWS by the P-256 key of the chain's leaf; `sub` and `iat` are added."""
    names = chain[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    (subject,) = names.get_values_for_type(x509.UniformResourceIdentifier)
    header = {"alg": "ES256", "typ": kind,
              "x5c": [base64.b64encode(one.public_bytes(Encoding.DER)).decode() for one in chain]}
    claims = {"sub": subject, "iat": int(time.time()), **claims}
    signed = ".".join(b64(json.dumps(part).encode()) for part in (header, claims))
    r, s = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    return signed + "." + b64(r.to_bytes(32, "big") + s.to_bytes(32, "big"))


def statement(action, transaction, peer, chain, key, details=None):
    claims = {"act": action, "txn": transaction, "peer": peer}
    if details is not None:
        claims["dig"] = b64(digest(details))
    return sign(STATEMENT, claims, chain, key)


def receipt(token, chain, key):
    return sign(RECEIPT, {"stm": b64(digest(token))}, chain, key)


def claims_of(token, kind, leaf_der):
    """What the token says, once it is certain that the holder of that certificate signed it."""
    try:
        head, body, signature = token.split(".")
        header, claims, raw = json.loads(unb64(head)), json.loads(unb64(body)), unb64(signature)
        if header["typ"] != kind or header["alg"] != "ES256" or len(raw) != 64:
            raise Invalid(f"no {kind}")
        if base64.b64decode(header["x5c"][0]) != leaf_der:
            raise Invalid("it was signed with another certificate than that of the connection")
        numbers = (int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
        x509.load_der_x509_certificate(leaf_der).public_key().verify(
            encode_dss_signature(*numbers), f"{head}.{body}".encode(), ec.ECDSA(hashes.SHA256()))
        return claims
    except (ValueError, KeyError, IndexError, InvalidSignature) as error:
        raise Invalid(f"no {kind}: {error}") from error


def record(token, countersigned=""):
    """Has the agent of this host put both into the ledger; returns when they are there."""
    def field(number, text):
        data, length = text.encode(), b""
        size = len(data)
        while size > 127:
            length, size = length + bytes([size & 127 | 128]), size >> 7
        return bytes([number << 3 | 2]) + length + bytes([size]) + data if data else b""
    with grpc.insecure_channel(os.environ["SPIFFE_ENDPOINT_SOCKET"],
                               options=[("grpc.default_authority", "localhost")]) as channel:
        call = channel.unary_unary("/cygnet.workload.v1.Custody/Record")
        answer = call(field(1, token) + field(2, countersigned), timeout=20,
                      metadata=[("workload.spiffe.io", "true")])
    if answer != b"\x0a\x20" + digest(token):
        raise Invalid("the agent answered for another statement")
