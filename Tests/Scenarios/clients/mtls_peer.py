"""One end of mutual TLS with SVIDs that stay fresh, from the stock `spiffe` package.

    mtls_peer.py listen ADDRESS PORT PEER_ID SECONDS
    mtls_peer.py connect ADDRESS PORT PEER_ID SECONDS

Every connection is a new handshake with the SVID and bundle of that moment. Beside it, one connection
of the connecting end stays open the whole time. Prints one JSON object at the end.
"""
import json
import os
import socket
import ssl
import sys
import tempfile
import threading
import time

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from spiffe import TrustDomain, X509Source


class Identity:
    """Makes an SSL context from what the source holds now."""

    def __init__(self, address, peer_id):
        self.source = X509Source(socket_path=address, timeout_in_seconds=20)
        self.peer_id = peer_id
        self.folder = tempfile.mkdtemp()
        self.serials = []
        self.roots = set()
        self.least_left = float("inf")

    def context(self, side):
        context_now = self.source.get_x509_context()
        svid = context_now.default_svid
        domain = TrustDomain(self.peer_id.split("/")[2])
        bundle = context_now.x509_bundle_set.get_bundle_for_trust_domain(domain)
        serial = format(svid.leaf.serial_number, "x")
        if serial not in self.serials:
            self.serials.append(serial)
        self.least_left = min(
            self.least_left, svid.leaf.not_valid_after_utc.timestamp() - time.time())
        roots = [root.public_bytes(serialization.Encoding.PEM).decode()
                 for root in bundle.x509_authorities]
        self.roots.update(roots)
        path = os.path.join(self.folder, f"{serial}.pem")
        if not os.path.exists(path):
            part = f"{path}.{threading.get_ident()}"
            with open(part, "wb") as file:
                os.fchmod(file.fileno(), 0o600)
                for certificate in svid.cert_chain:
                    file.write(certificate.public_bytes(serialization.Encoding.PEM))
                file.write(svid.private_key.private_bytes(
                    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                    serialization.NoEncryption()))
            os.rename(part, path)
        context = ssl.SSLContext(side)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(path)
        context.load_verify_locations(cadata="".join(roots))
        return context

    def check(self, tls):
        leaf = x509.load_der_x509_certificate(tls.getpeercert(binary_form=True))
        names = leaf.extensions.get_extension_for_class(
            x509.SubjectAlternativeName).value.get_values_for_type(x509.UniformResourceIdentifier)
        if names != [self.peer_id]:
            raise ssl.SSLError(f"the peer is {names}, not {self.peer_id}")

    def summary(self, **more):
        return {"serials": self.serials, "roots": len(self.roots),
                "least_left": self.least_left, **more}


def serve(identity, raw, failures):
    try:
        raw.settimeout(30)
        with identity.context(ssl.PROTOCOL_TLS_SERVER).wrap_socket(raw, server_side=True) as tls:
            identity.check(tls)
            while data := tls.recv(4096):
                tls.sendall(data)
    except (OSError, ssl.SSLError) as failure:
        # A peer that ends at the end of the run is not a failed handshake.
        if isinstance(failure, ssl.SSLError) and "EOF" not in str(failure).upper():
            failures.append(str(failure))


def listen(identity, port, seconds):
    failures = []
    listener = socket.create_server(("127.0.0.1", port))
    listener.settimeout(0.5)
    served = 0
    deadline = time.monotonic() + seconds
    print(json.dumps({"ready": True}), flush=True)
    while time.monotonic() < deadline:
        try:
            raw, _ = listener.accept()
        except TimeoutError:
            continue
        served += 1
        threading.Thread(target=serve, args=(identity, raw, failures), daemon=True).start()
    print(json.dumps(identity.summary(handshakes=served, failures=failures)), flush=True)


def round_trip(tls, text):
    tls.sendall(text)
    got = b""
    while len(got) < len(text):
        data = tls.recv(4096)
        if not data:
            raise ssl.SSLError("the peer closed the connection")
        got += data


def connect(identity, port, seconds):
    failures, handshakes, messages = [], 0, 0

    def dial():
        raw = socket.create_connection(("127.0.0.1", port), timeout=10)
        tls = identity.context(ssl.PROTOCOL_TLS_CLIENT).wrap_socket(raw)
        identity.check(tls)
        return tls

    deadline = time.monotonic() + seconds
    lasting = dial()
    while time.monotonic() < deadline:
        try:
            with dial() as tls:
                round_trip(tls, b"once")
            handshakes += 1
        except (OSError, ssl.SSLError) as failure:
            failures.append(str(failure))
        try:
            round_trip(lasting, b"again")
            messages += 1
        except (OSError, ssl.SSLError) as failure:
            failures.append(f"lasting connection: {failure}")
            lasting = dial()
        time.sleep(0.05)
    print(json.dumps(identity.summary(
        handshakes=handshakes, messages=messages, failures=failures)), flush=True)


if __name__ == "__main__":
    role, address, port, peer_id, seconds = sys.argv[1:]
    action = {"listen": listen, "connect": connect}[role]
    action(Identity(address, peer_id), int(port), float(seconds))
