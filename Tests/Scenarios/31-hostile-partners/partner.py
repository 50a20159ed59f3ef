"""A bundle endpoint over HTTPS that does what it is told, and the bundles that it serves."""
import base64
import datetime
import http.server
import json
import ssl
import threading
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


def authority(*names, key_id=None):
    """A JWK of an X.509 authority with these URI names, and with that subject key ID, which need not fit its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.timezone.utc)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "partner")])
    builder = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name)
        .public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(True, None), True)
        .add_extension(x509.KeyUsage(
            False, False, False, False, False, True, True, False, False), True))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(
            [x509.UniformResourceIdentifier(one) for one in names]), False)
    if key_id is not None:
        builder = builder.add_extension(x509.SubjectKeyIdentifier(key_id), False)
    der = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    point = key.public_key().public_numbers()

    def number(value):
        return base64.urlsafe_b64encode(value.to_bytes(32, "big")).rstrip(b"=").decode()
    return {"kty": "EC", "crv": "P-256", "x": number(point.x), "y": number(point.y),
            "use": "x509-svid", "x5c": [base64.b64encode(der).decode()]}


def key_id(key):
    """The subject key ID of the authority in a JWK."""
    certificate = x509.load_der_x509_certificate(base64.b64decode(key["x5c"][0]))
    return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest


def bundle(sequence, *keys):
    return json.dumps({"spiffe_sequence": sequence, "spiffe_refresh_hint": 86400,
                       "keys": list(keys)}).encode()


class Endpoint:
    """Serves on one port of localhost. `answer` is called with each request's handler."""

    def __init__(self, port, certificate, key):
        self.port = port
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)
        self.answer = lambda handler: respond(handler, 500)
        self.requests = []
        self.server = None

    @property
    def url(self):
        return f"https://localhost:{self.port}/bundle"

    def start(self):
        endpoint = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                endpoint.requests.append(dict(self.headers))
                try:
                    endpoint.answer(self)
                except OSError:
                    pass  # The client has had enough, which it may.

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def get_request(self):
                raw, address = self.socket.accept()
                raw.settimeout(60)
                # The handshake is the thread's, at its first read.
                return endpoint.context.wrap_socket(
                    raw, server_side=True, do_handshake_on_connect=False), address

            def handle_error(self, *_):
                pass  # Refused handshakes are what some checks are about.

        self.server = Server(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def stop(self):
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server = None

    # MARK: what it does

    def serve(self, body, status=200, **fields):
        self.answer = lambda handler: respond(handler, status, body, **fields)

    def redirect(self, location):
        self.answer = lambda handler: respond(handler, 302, b"", Location=location)

    def dribble(self):
        """A byte a second, without end."""
        def answer(handler):
            handler.send_response(200)
            handler.send_header("Content-Length", "100000")
            handler.end_headers()
            while True:
                handler.wfile.write(b" ")
                handler.wfile.flush()
                time.sleep(1)
        self.answer = answer

    def say_nothing(self):
        self.answer = lambda handler: time.sleep(50)

    def hang_up(self):
        """The head promises more than comes."""
        def answer(handler):
            handler.send_response(200)
            handler.send_header("Content-Length", "1000")
            handler.end_headers()
            handler.wfile.write(b"{")
            handler.close_connection = True
        self.answer = answer


def respond(handler, status, body=b"", **fields):
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body)))
    for name, value in fields.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)
