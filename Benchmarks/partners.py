"""A thousand federation partners on one port: a bundle endpoint of profile https_spiffe for all of them."""
import base64
import datetime
import http.server
import json
import socket
import ssl
import threading

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

ENDPOINT_ID = "spiffe://hub.test/endpoint"
PEM, DER = serialization.Encoding.PEM, serialization.Encoding.DER


def _signed(key, name, issuer_key, issuer_name, uri, is_authority):
    now = datetime.datetime.now(datetime.timezone.utc)
    return (
        x509.CertificateBuilder().subject_name(name).issuer_name(issuer_name)
        .public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(is_authority, None), True)
        .add_extension(x509.KeyUsage(
            not is_authority, False, False, False, False, is_authority, is_authority, False, False), True)
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False)
        .sign(issuer_key, hashes.SHA256()))


def _authority(trust_domain):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, trust_domain)])
    return key, name, _signed(key, name, key, name, f"spiffe://{trust_domain}", True)


def _bundle(certificate, hint):
    point = certificate.public_key().public_numbers()

    def number(value):
        return base64.urlsafe_b64encode(value.to_bytes(32, "big")).rstrip(b"=").decode()
    key = {"kty": "EC", "crv": "P-256", "x": number(point.x), "y": number(point.y), "use": "x509-svid",
           "x5c": [base64.b64encode(certificate.public_bytes(DER)).decode()]}
    return json.dumps({"spiffe_sequence": 1, "spiffe_refresh_hint": hint, "keys": [key]}).encode()


class Partners:
    """Serves the bundle of `pN.test` at `/N`, and knows how often it was asked."""

    def __init__(self, scenario, count, hint):
        self.names = [f"p{number}.test" for number in range(count)]
        key, name, root = _authority("hub.test")
        self.hub_bundle = _bundle(root, hint)
        leaf_key = ec.generate_private_key(ec.SECP256R1())
        leaf = _signed(leaf_key, x509.Name([]), key, name, ENDPOINT_ID, False)
        path = scenario.path("hub.pem")
        with open(path, "wb") as file:
            file.write(leaf.public_bytes(PEM) + leaf_key.private_bytes(
                PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        bundles = [_bundle(_authority(one)[2], hint) for one in self.names]
        self.full = self.unchanged = 0
        partners = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                if self.path.endswith("/revocations"):
                    return self.send_error(404)  # publishes no lists, as a stock server
                body, tag = bundles[int(self.path[1:])], f'"{self.path[1:]}"'
                same = self.headers.get("If-None-Match") == tag
                if same:
                    partners.unchanged += 1
                else:
                    partners.full += 1
                self.send_response(304 if same else 200)
                self.send_header("ETag", tag)
                if not same:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if not same:
                    self.wfile.write(body)

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = socket.SOMAXCONN

            def get_request(self):
                raw, address = self.socket.accept()
                raw.settimeout(30)
                return context.wrap_socket(raw, server_side=True, do_handshake_on_connect=False), address

        server = Server(("127.0.0.1", 0), Handler)
        self.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        scenario.at_end(server.shutdown)

    def relationships(self):
        """For `federation create -data`, in parts."""
        made = [{"trustDomain": name, "bundleEndpointURL": f"https://127.0.0.1:{self.port}/{number}",
                 "bundleEndpointProfile": "https_spiffe", "endpointSPIFFEID": ENDPOINT_ID}
                for number, name in enumerate(self.names)]
        for start in range(0, len(made), 50):
            yield json.dumps({"federationRelationships": made[start:start + 50]})
