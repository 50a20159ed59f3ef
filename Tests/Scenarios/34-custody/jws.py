"""Custody statements and receipts from docs/custody.md, with only `cryptography`: made, also wrongly, and verified."""
import base64
import datetime
import hashlib
import json
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from harness.certificates import load_chain, uri_sans

STATEMENT, RECEIPT = "custody+jwt", "custody-receipt+jwt"
DER = serialization.Encoding.DER


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text):
    assert "=" not in text
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def digest(text):
    return hashlib.sha256(text.encode()).digest()


def pss():
    return padding.PSS(padding.MGF1(hashes.SHA256()), 32)


class Signer:
    """An X509-SVID with its key."""

    def __init__(self, chain, key):
        self.chain, self.key = chain, key
        (self.id,) = uri_sans(chain[0])

    @classmethod
    def of(cls, svid):
        """From a message of the Workload API, or from what `plain_grpc.py fetch-x509` prints of one."""
        if isinstance(svid, dict):
            chain, key = base64.b64decode(svid["chain"]), base64.b64decode(svid["key"])
        else:
            chain, key = svid.x509_svid, svid.x509_svid_key
        return cls(load_chain(chain), serialization.load_der_private_key(key, None))

    @property
    def serial(self):
        return format(self.chain[0].serial_number, "x")

    def sign(self, kind, claims, key=None, header=None, chain=None):
        """A compact JWS. Whatever is given takes the place of what would be right; None leaves a member out."""
        key = key or self.key
        head = {"alg": "PS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256", "typ": kind,
                "x5c": [base64.b64encode(one.public_bytes(DER)).decode() for one in chain or self.chain],
                **(header or {})}
        claims = {"sub": self.id, "iat": int(time.time()), **claims}
        parts = ({name: value for name, value in part.items() if value is not None} for part in (head, claims))
        text = ".".join(b64(json.dumps(part).encode()) for part in parts)
        return f"{text}.{b64(self.signature(key, text.encode()))}"

    @staticmethod
    def signature(key, message):
        if isinstance(key, rsa.RSAPrivateKey):
            return key.sign(message, pss(), hashes.SHA256())
        r, s = decode_dss_signature(key.sign(message, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def statement(self, action, transaction, peer=None, details=None, **more):
        dig = b64(digest(details)) if details else None
        return self.sign(STATEMENT, {"act": action, "txn": transaction, "peer": peer, "dig": dig}, **more)

    def receipt(self, token, **more):
        return self.sign(RECEIPT, {"stm": b64(digest(token))}, **more)


def verified(token, kind):
    """(leaf certificate, claims) of a token that the key of its own leaf signed; raises otherwise."""
    head, body, signature = token.split(".")
    header, raw, message = json.loads(unb64(head)), unb64(signature), f"{head}.{body}".encode()
    assert header["typ"] == kind and set(header) == {"alg", "typ", "x5c"}, header
    leaf = x509.load_der_x509_certificate(base64.b64decode(header["x5c"][0], validate=True))
    key = leaf.public_key()
    if header["alg"] == "PS256":
        key.verify(raw, message, pss(), hashes.SHA256())
    else:
        assert header["alg"] == "ES256" and len(raw) == 64, header
        numbers = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
        key.verify(encode_dss_signature(*numbers), message, ec.ECDSA(hashes.SHA256()))
    claims = json.loads(unb64(body))
    assert uri_sans(leaf) == [claims["sub"]], claims
    return leaf, claims


class Authority:
    """A trust domain that is nothing but this; `certificate` is its root."""

    def __init__(self, trust_domain):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, trust_domain)])
        self.certificate = self._signed(self.key, self.name, f"spiffe://{trust_domain}", True)

    def svid(self, spiffe_id):
        key = ec.generate_private_key(ec.SECP256R1())
        return Signer([self._signed(key, x509.Name([]), spiffe_id, False)], key)

    def _signed(self, key, name, uri, is_authority):
        now = datetime.datetime.now(datetime.timezone.utc)
        return (
            x509.CertificateBuilder().subject_name(name).issuer_name(self.name)
            .public_key(key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(is_authority, None), True)
            .add_extension(x509.KeyUsage(
                not is_authority, False, False, False, False, is_authority, is_authority, False, False), True)
            .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), not is_authority)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), False)
            .sign(self.key, hashes.SHA256()))
