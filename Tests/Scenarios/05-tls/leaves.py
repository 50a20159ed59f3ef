"""Client certificates that the server's own authority has signed, good ones and some that break one rule."""
import base64
import datetime
import ipaddress
import json

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from harness import attest, protos
from harness.streams import code_of
from harness.tunnel import Tunnel

PEM = serialization.Encoding.PEM
BOTH = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]


def uri(text):
    return x509.UniformResourceIdentifier(text)


def usage(*names):
    every = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
             "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
    return x509.KeyUsage(**{name: name in names for name in every})


class Authority:
    """The server's X.509 authority, as who holds the key file could use it."""

    def __init__(self, server):
        self.server = server
        self.certificate = x509.load_pem_x509_certificate(server.bundle_pem().encode())
        with open(server.keys, encoding="utf-8") as file:
            keys = json.load(file)["keys"]
        (name,) = [name for name in keys if name.lower().startswith("x509")]
        self.key = serialization.load_der_private_key(base64.b64decode(keys[name]), None)

    def leaf(self, key, names=None, names_critical=False, subject="workload", basic=False,
             key_usage=("digital_signature",), purposes=tuple(BOTH), purposes_critical=False,
             begins=-1.0, ends=1.0, extra=None):
        """`basic`, `key_usage`, `purposes` and `names` are left out when None or empty; times in hours."""
        now = datetime.datetime.now(datetime.timezone.utc)
        attributes = [x509.NameAttribute(NameOID.COMMON_NAME, subject)] if subject else []
        builder = (
            x509.CertificateBuilder().subject_name(x509.Name(attributes))
            .issuer_name(self.certificate.subject).public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + datetime.timedelta(hours=begins))
            .not_valid_after(now + datetime.timedelta(hours=ends)))
        if basic is not None:
            builder = builder.add_extension(x509.BasicConstraints(basic, None), True)
        if key_usage is not None:
            builder = builder.add_extension(usage(*key_usage), True)
        if purposes:
            builder = builder.add_extension(
                x509.ExtendedKeyUsage(list(purposes)), purposes_critical)
        names = [uri(self.server.id("forged"))] if names is None else names
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), names_critical)
        if extra is not None:
            builder = builder.add_extension(extra, True)
        return builder.sign(self.key, hashes.SHA256())


def check(s, server):
    authority = Authority(server)
    own = uri(server.id("forged"))
    good = {
        "X509-01": {},
        "X509-04": {"names": [own, x509.DNSName("a.test"), x509.RFC822Name("a@a.test"),
                              x509.IPAddress(ipaddress.ip_address("192.0.2.1"))]},
        "X509-07": {"subject": "", "names_critical": True},
        "X509-09": {"basic": None},
        "X509-16": {"key_usage": ("digital_signature", "key_encipherment", "key_agreement")},
        "X509-19": {"purposes": ()},
        "X509-21": {"purposes_critical": True},
    }
    bad = {
        "X509-02: two IDs": {"names": [own, uri(server.id("other"))]},
        "X509-02: twice the same": {"names": [own, own]},
        "X509-02: an ID and a web address": {"names": [own, uri("https://example.org/")]},
        "X509-03: no names": {"names": []},
        "X509-03: a DNS name": {"names": [x509.DNSName("example.org")]},
        "X509-06: no path": {"names": [uri("spiffe://example.org")]},
        "X509-08: another scheme": {"names": [uri("https://example.org/x")]},
        "X509-08: the scheme in upper case": {"names": [uri("SPIFFE://example.org/x")]},
        "X509-08: the trust domain in upper case": {"names": [uri("spiffe://Example.org/x")]},
        "X509-08: a query": {"names": [uri("spiffe://example.org/x?y")]},
        "X509-08: an empty fragment": {"names": [uri("spiffe://example.org/x#")]},
        "X509-10: cA": {"basic": True},
        "X509-12: no key usage": {"key_usage": None},
        "X509-15: no digitalSignature": {"key_usage": ("key_agreement",)},
        "X509-18: keyCertSign": {"key_usage": ("digital_signature", "key_cert_sign")},
        "X509-18: cRLSign": {"key_usage": ("digital_signature", "crl_sign")},
        "X509-20: serverAuth alone": {"purposes": BOTH[:1]},
        "X509-20: clientAuth alone": {"purposes": BOTH[1:]},
        "X509-30: expired": {"begins": -2.0, "ends": -1.0},
        "X509-30: not valid yet": {"begins": 1.0, "ends": 2.0},
        "X509-30: an unknown critical extension": {
            "extra": x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0")},
        "X509-31: another trust domain": {"names": [uri("spiffe://partner.test/x")]},
    }

    def call(number, certificate, key):
        """The status of a call with this certificate that asks for no rights."""
        files = [s.path("leaves", f"{number}.{end}") for end in ("pem", "key")]
        for path, data in zip(files, (certificate.public_bytes(PEM), attest.key_pem(key))):
            with open(path, "wb") as file:
                file.write(data)
        channel = Tunnel(s, server, *files).channel()
        code, details = code_of(
            protos.stub(protos.BUNDLE, channel).GetBundle,
            protos.messages(protos.BUNDLE).GetBundleRequest(), timeout=8)
        channel.close()
        return code, details

    with s.check("X509-01, 04, 07, 09, 16, 19, 21: what may be in a leaf is let in"):
        for number, (name, shape) in enumerate(good.items()):
            key = attest.new_key()
            code, details = call(f"good{number}", authority.leaf(key, **shape), key)
            assert code == grpc.StatusCode.OK, f"{name}: {code} {details}"

    with s.check("X509-02, 03, 06, 08, 10, 12, 15, 18, 20, 30, 31: what may not fails the handshake"):
        for number, (name, shape) in enumerate(bad.items()):
            key = attest.new_key()
            code, details = call(f"bad{number}", authority.leaf(key, **shape), key)
            assert code == grpc.StatusCode.UNAVAILABLE, f"{name}: {code} {details}"

    with s.check("X509-28: the authority itself, with its own key, is nobody"):
        code, details = call("authority", authority.certificate, authority.key)
        assert code == grpc.StatusCode.UNAVAILABLE, f"{code} {details}"
