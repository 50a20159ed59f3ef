"""Certificates as a public CA would issue them, from an authority of the scenario's own."""
import datetime
import ipaddress
import os
import shutil
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from .cluster import binary
from .report import Skip

PEM = serialization.Encoding.PEM
# Where programs look for the authorities of the machine.
SYSTEM = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")


class WebAuthority:
    """Signs server certificates; `file` has its root for clients."""

    def __init__(self, scenario, name="web-ca"):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self.certificate = (
            self._builder(self.subject, self.key.public_key())
            .add_extension(x509.BasicConstraints(True, None), True)
            .add_extension(x509.KeyUsage(
                False, False, False, False, False, True, True, False, False), True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), False)
            .sign(self.key, hashes.SHA256()))
        self.file = scenario.path(f"{name}.pem")
        write(self.file, self.certificate.public_bytes(PEM))

    def _builder(self, subject, public_key):
        now = datetime.datetime.now(datetime.timezone.utc)
        return (
            x509.CertificateBuilder().subject_name(subject).issuer_name(self.subject)
            .public_key(public_key).serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(days=1)))

    def issue(self, certificate_file, key_file, *names):
        """Writes a new certificate and key; gives the serial number."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            self._builder(x509.Name([]), key.public_key())
            .add_extension(x509.SubjectAlternativeName([general_name(n) for n in names]), True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(
                self.key.public_key()), False)
            .add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH]), False)
            .sign(self.key, hashes.SHA256()))
        write(key_file, key.private_bytes(
            PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        write(certificate_file, certificate.public_bytes(PEM))
        return certificate.serial_number

    @property
    def context(self):
        """For Python's clients: trusts this authority and nothing else."""
        return ssl.create_default_context(cafile=self.file)


def general_name(name):
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def write(path, data):
    """Replaces a file at once, as ACME clients do."""
    with open(path + ".new", "wb") as file:
        file.write(data)
    os.replace(path + ".new", path)


def trusting(file, argv):
    """A command line that runs `argv` so that this file is all it sees of the machine's authorities."""
    system = next((os.path.realpath(path) for path in SYSTEM if os.path.exists(path)), None)
    if os.geteuid() != 0 or not shutil.which("unshare") or system is None:
        raise Skip("needs root, unshare and the system's file of authorities")
    return ["unshare", "-m", "sh", "-c", 'mount --bind "$1" "$2" && shift 2 && exec "$@"', "sh", file, system, *argv]


def start_trusting(server, file):
    """Starts the server so that this file is all it sees of the machine's authorities."""
    server.daemon = server.scenario.daemon(
        server.name, trusting(file, [binary("cygnet-server"), "run", "-config", server.config]))
    server.wait_ready()
