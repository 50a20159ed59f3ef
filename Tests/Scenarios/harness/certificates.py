"""What the conformance table asks of certificates and tokens, asked with PyPI's `cryptography`."""
import base64
import json

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID


def split_der(data):
    """Certificates that stand back to back, as the Workload API delivers them."""
    parts = []
    while data:
        length, header = data[1], 2
        if length & 0x80:
            count = length & 0x7F
            length, header = int.from_bytes(data[2:2 + count], "big"), 2 + count
        parts.append(data[:header + length])
        data = data[header + length:]
    return parts


def load_chain(data):
    return [x509.load_der_x509_certificate(part) for part in split_der(data)]


def pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def uri_sans(certificate):
    extension = certificate.extensions.get_extension_for_oid(
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME)
    return extension.value.get_values_for_type(x509.UniformResourceIdentifier)


def dns_sans(certificate):
    extension = certificate.extensions.get_extension_for_oid(
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME)
    return extension.value.get_values_for_type(x509.DNSName)


def serial(certificate):
    return format(certificate.serial_number, "x")


def check_leaf(leaf, spiffe_id):
    """Rows X509-01, 05, 09, 12, 15, 17, 19, 20 and the form that SPIRE gives to a leaf."""
    assert uri_sans(leaf) == [spiffe_id], f"X509-01: URI SANs {uri_sans(leaf)}"
    basic = leaf.extensions.get_extension_for_oid(ExtensionOID.BASIC_CONSTRAINTS)
    assert basic.value.ca is False, "X509-09: a leaf with cA"
    usage = leaf.extensions.get_extension_for_oid(ExtensionOID.KEY_USAGE)
    assert usage.critical, "X509-12: key usage is not critical"
    assert usage.value.digital_signature, "X509-15: no digitalSignature"
    assert not usage.value.key_cert_sign and not usage.value.crl_sign, "X509-17: signs certificates"
    purposes = set(
        leaf.extensions.get_extension_for_oid(ExtensionOID.EXTENDED_KEY_USAGE).value)
    assert {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH} <= purposes, "X509-20"
    leaf.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_KEY_IDENTIFIER)
    leaf.extensions.get_extension_for_oid(ExtensionOID.AUTHORITY_KEY_IDENTIFIER)
    assert 64 <= leaf.serial_number.bit_length() <= 159, "serial number is not random enough"
    if not list(leaf.subject):
        name = leaf.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME)
        assert name.critical, "X509-07: empty subject with a SAN that is not critical"


def check_authority(root, trust_domain):
    """Rows X509-11 to X509-14 and X509-24 to X509-26."""
    basic = root.extensions.get_extension_for_oid(ExtensionOID.BASIC_CONSTRAINTS)
    assert basic.value.ca and basic.critical, "X509-11: no critical cA"
    usage = root.extensions.get_extension_for_oid(ExtensionOID.KEY_USAGE)
    assert usage.critical and usage.value.key_cert_sign, "X509-12, X509-13"
    assert not usage.value.digital_signature, "X509-14: digitalSignature on an authority"
    assert uri_sans(root) == [f"spiffe://{trust_domain}"], f"X509-25: {uri_sans(root)}"


def key_kind(public_key):
    if isinstance(public_key, ec.EllipticCurvePublicKey):
        return f"ec-{public_key.curve.name}"
    if isinstance(public_key, rsa.RSAPublicKey):
        return f"rsa-{public_key.key_size}"
    return type(public_key).__name__


def same_key(certificate, private_key_der):
    """Whether an unencrypted PKCS#8 key belongs to a certificate (row WAPI-19)."""
    key = serialization.load_der_private_key(private_key_der, password=None)
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return key.public_key().public_bytes(*form) == certificate.public_key().public_bytes(*form)


def token_parts(token):
    """Header and claims of a compact JWS, without verification."""
    def decode(part):
        assert "=" not in part, "JWT-01: padding in a compact JWS"
        return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    header, claims, _ = token.split(".")
    return decode(header), decode(claims)
