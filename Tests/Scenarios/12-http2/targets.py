"""The sockets under attack, and the honest client that must be served on each of them all the time."""
import socket
import ssl
import threading

from frames import PATIENCE, Peer
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2 import events
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes
from harness import protos

HEALTH = "/grpc.health.v1.Health/Check"
BUNDLE = "/spire.api.server.bundle.v1.Bundle/GetBundle"
FETCH = "/SpiffeWorkloadAPI/FetchX509SVID"
VALIDATE = "/SpiffeWorkloadAPI/ValidateJWTSVID"


class Target:
    """One socket. `path` is a unary call that an empty message answers with OK."""

    def __init__(self, name, program, path, limit, address=None, port=None, watch=None):
        self.name = name
        self.program = program  # an Agent or a Server
        self.path = path
        self.watch = watch  # a call whose answer stays open
        self.address = address
        self.port = port
        self.limit = limit  # bytes of a request message
        self._honest = None
        self._turn = threading.Lock()

    @property
    def alive(self):
        return self.program.daemon.alive

    @property
    def pid(self):
        return self.program.daemon.pid

    def connect(self, small=False):
        """`small`: with little room for what is received and not read."""
        sock = self.connect_plain(small)
        return sock if self.address else tls_context().wrap_socket(sock)

    def connect_plain(self, small=False):
        """Without TLS, where TLS is spoken."""
        sock = socket.socket(socket.AF_UNIX if self.address else socket.AF_INET)
        if small:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        # A Unix socket whose queue is full answers EAGAIN to those who set a time limit before.
        sock.connect(self.address or ("127.0.0.1", self.port))
        sock.settimeout(PATIENCE)
        return sock

    def silent_peer(self, small=False):
        """A connection on which nothing has been sent."""
        return Peer(self, self.connect(small))

    def peer(self, values=()):
        return self.silent_peer().hello(values)

    def fields(self, path=None, *more):
        """The header fields of a good request."""
        fields = [
            (":method", "POST"), (":scheme", "http" if self.address else "https"),
            (":path", path or self.path), (":authority", "localhost"),
            ("content-type", "application/grpc"), ("te", "trailers")]
        if self.watch:
            fields.append(("workload.spiffe.io", "true"))
        return fields + list(more)

    # MARK: the honest client

    def serve(self, what):
        """Fails unless the program runs and answers a normal call, on a connection that stays open
        through all attacks."""
        assert self.alive, f"{self.name}: after {what} the program is gone"
        with self._turn:
            try:
                try:
                    self._honest = self._honest or Honest(self)
                    self._honest.call()
                except Leaving:  # an old connection is asked to go; a new one must be served
                    self._honest = Honest(self)
                    self._honest.call()
            except (AssertionError, OSError, ProtocolError) as failure:
                self._honest = None
                raise AssertionError(
                    f"{self.name}: after {what} an honest client on another connection was not served: "
                    f"{failure or type(failure).__name__}") from None

    def forget(self):
        """Lets the honest client begin anew."""
        with self._turn:
            if self._honest is not None:
                self._honest.close()
                self._honest = None


_context = None


def tls_context():
    global _context
    if _context is None:
        _context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        _context.check_hostname, _context.verify_mode = False, ssl.CERT_NONE
        _context.minimum_version = ssl.TLSVersion.TLSv1_3
        _context.set_alpn_protocols(["h2"])
    return _context


class Leaving(Exception):
    """The server asks for a new connection, politely."""


class Honest:
    """A client by the book: PyPI's `h2`, which raises when the other side breaks a rule."""

    def __init__(self, target):
        self.target = target
        self.sock = target.connect()
        self.h2 = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.h2.update_settings({SettingCodes.ENABLE_PUSH: 0})
        self._buffer = b""
        self._flush()

    def _flush(self):
        self.sock.sendall(self.h2.data_to_send())

    def _events(self):
        """Frame by frame: after a GOAWAY `h2` takes no other frame."""
        received = self.sock.recv(1 << 16)
        assert received, "the connection was closed"
        self._buffer += received
        while len(self._buffer) >= 9:
            size = 9 + int.from_bytes(self._buffer[:3], "big")
            if len(self._buffer) < size:
                return
            whole, self._buffer = self._buffer[:size], self._buffer[size:]
            yield from self.h2.receive_data(whole)

    def call(self, path=None, body=b""):
        """Makes a call; returns its first message. A call that stays open is cancelled then."""
        target = self.target
        watching = path is None and target.watch is not None
        path = path or target.watch or target.path
        number = self.h2.get_next_available_stream_id()
        self.h2.send_headers(number, target.fields(path))
        self.h2.send_data(number, b"\x00" + len(body).to_bytes(4, "big") + body, end_stream=True)
        self._flush()
        answer, status = b"", None
        while True:
            for event in self._events():
                if isinstance(event, events.ConnectionTerminated):
                    if event.error_code == 0:
                        raise Leaving
                    raise AssertionError(f"GOAWAY {event.error_code}")
                if getattr(event, "stream_id", None) != number:
                    continue
                if isinstance(event, events.DataReceived):
                    answer += event.data
                    self.h2.acknowledge_received_data(event.flow_controlled_length, number)
                elif isinstance(event, events.StreamReset):
                    raise AssertionError(f"RST_STREAM {event.error_code}")
                elif isinstance(event, (events.ResponseReceived, events.TrailersReceived)):
                    status = dict(event.headers).get("grpc-status", status)
                elif isinstance(event, events.StreamEnded):
                    assert status == "0", f"grpc-status {status}"
                    self._flush()
                    return answer[5:]
            complete = len(answer) >= 5 and len(answer) >= 5 + int.from_bytes(answer[1:5], "big")
            if watching and complete:
                self.h2.reset_stream(number, 8)
                self._flush()
                return answer[5:]
            self._flush()

    def close(self):
        self.sock.close()


def of(server, agent):
    """The sockets of a server and an agent."""
    return [
        Target("workload API", agent, HEALTH, 64 << 10, address=agent.socket, watch=FETCH),
        Target("admin socket", server, HEALTH, 64 << 20, address=server.socket),
        Target("TLS port", server, BUNDLE, 4 << 20, port=server.port),
    ]


def validate(size):
    """A ValidateJWTSVID request of exactly so many bytes. It is refused, but only after it was read."""
    messages = protos.messages(protos.WORKLOAD_API)
    for padding in range(max(size - 16, 1), size + 1):
        body = messages.ValidateJWTSVIDRequest(
            audience="a", svid="x" * padding).SerializeToString()
        if len(body) == size:
            return body
    raise AssertionError(f"no request has {size} bytes")
