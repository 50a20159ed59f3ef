"""HTTP/2 by hand: builders for frames and header blocks, right or wrong, and a client that writes any
bytes it likes, reads what comes back and keeps count of the windows the other side must respect."""
import select
import socket
import ssl
import struct
import time

import hpack
from harness.http2 import PREFACE, frame
from hyperframe import frame as parsed

(DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE,
 CONTINUATION) = range(10)
END_STREAM = ACK = 0x1
END_HEADERS, PADDED, WITH_PRIORITY = 0x4, 0x8, 0x20
(NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED,
 FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM) = range(12)
CODES = (
    "NO_ERROR PROTOCOL_ERROR INTERNAL_ERROR FLOW_CONTROL_ERROR SETTINGS_TIMEOUT STREAM_CLOSED "
    "FRAME_SIZE_ERROR REFUSED_STREAM CANCEL COMPRESSION_ERROR CONNECT_ERROR ENHANCE_YOUR_CALM").split()
(TABLE_SIZE, ENABLE_PUSH, MAX_STREAMS, INITIAL_WINDOW, MAX_FRAME, MAX_HEADER_LIST) = range(1, 7)
MAX_WINDOW = 2**31 - 1
# Nothing here takes a tenth of it; who needs longer hangs.
PATIENCE = 15.0


def code_name(code):
    return CODES[code] if code < len(CODES) else f"code {code}"


# MARK: frames

def settings(values=(), flags=0, stream=0):
    """A SETTINGS frame from a dictionary or from pairs (which may repeat)."""
    pairs = values.items() if isinstance(values, dict) else values
    return frame(SETTINGS, flags, stream, b"".join(struct.pack(">HI", *pair) for pair in pairs))


def window_update(stream, increment):
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", increment))


def rst_stream(stream, code=CANCEL):
    return frame(RST_STREAM, 0, stream, struct.pack(">I", code))


def priority(stream, depends_on=0):
    return frame(PRIORITY, 0, stream, struct.pack(">IB", depends_on, 15))


def goaway(last=0, code=NO_ERROR, text=b"", stream=0):
    return frame(GOAWAY, 0, stream, struct.pack(">II", last, code) + text)


def data(stream, payload=b"", end=False):
    return frame(DATA, END_STREAM if end else 0, stream, payload)


def message(body=b"", flag=0):
    """A gRPC message with its prefix."""
    return struct.pack(">BI", flag, len(body)) + body


# MARK: header blocks

def integer(value, bits, first=0):
    """An HPACK integer with a prefix of so many bits."""
    limit = (1 << bits) - 1
    if value < limit:
        return bytes([first | value])
    out, value = [first | limit], value - limit
    while value >= 128:
        out.append(value % 128 | 128)
        value //= 128
    return bytes(out + [value])


def text(value):
    value = value.encode() if isinstance(value, str) else value
    return integer(len(value), 7) + value


def literal(name, value, kind=0x00):
    """A field with both parts spelled out. 0x00: not indexed, 0x10: never, 0x40: enters the table."""
    return bytes([kind]) + text(name) + text(value)


def block(fields):
    return b"".join(literal(name, value) for name, value in fields)


def without(fields, *names):
    return [field for field in fields if field[0] not in names]


def replaced(fields, name, value):
    return [(name, value) if field[0] == name else field for field in fields]


# MARK: the client

class Stream:
    """What came back on one stream."""

    def __init__(self, window):
        self.headers = []  # one list of pairs per header block
        self.body = b""
        self.pieces = []
        self.ended = False
        self.reset = None
        self.window = window  # what the other side may still send

    @property
    def over(self):
        return self.ended or self.reset is not None

    def field(self, name):
        for fields in reversed(self.headers):
            for found, value in fields:
                if found == name:
                    return value
        return None

    @property
    def status(self):
        """The gRPC status, when the stream ended with one."""
        value = self.field("grpc-status")
        return int(value) if self.ended and value is not None else None

    @property
    def http(self):
        value = self.headers[0][0][1] if self.headers and self.headers[0] else None
        return int(value) if value else None

    def describe(self):
        parts = [f"{len(self.headers)} header blocks, {len(self.body)} bytes"]
        if self.http is not None:
            parts.append(f"HTTP {self.http}")
        if self.field("grpc-status") is not None:
            parts.append(f"grpc-status {self.field('grpc-status')}")
        if self.reset is not None:
            parts.append(f"RST_STREAM {code_name(self.reset)}")
        parts.append("ended" if self.ended else "open")
        return ", ".join(parts)


class Peer:
    """A connection to one of our sockets. `with target.peer() as peer` has exchanged settings."""

    def __init__(self, target, sock):
        self.target = target
        self.sock = sock
        self.sock.setblocking(False)
        self.buffer = bytearray()
        self.streams = {}
        self.announced = {}  # the other side's settings
        self.portion = 1 << 18  # bytes to read at a time
        self.frames = []  # names of the frames that came, in order
        self.goaway = None  # (last stream, code, text)
        self.pongs = []
        self.closed = False
        self.settings_seen = self.acks = 0
        self.acknowledges = True
        self.window = 65_535  # what the other side may send on the connection
        self.initial = 65_535  # and on a new stream
        self.frame_limit = 16_384
        self._lower = []  # windows that shrink once our settings are acknowledged
        self.may_send = 65_535  # what we may send on the connection
        self.credit = {}  # and on streams, as the difference to the announced initial window
        self._decoder = hpack.Decoder()
        self._block = None
        self._owes_update = False
        self._pings = 0
        self._replies = []  # acknowledgements, written once all that was read is worked off

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        try:
            self.sock.close()
        except OSError:
            pass

    def reset_connection(self):
        """Closes so that nothing more is delivered: RST on TCP, gone at once on a Unix socket."""
        try:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            pass
        self.close()

    # MARK: writing

    def send(self, *parts):
        """Writes bytes, and reads meanwhile, as any client does. That the other side has closed is seen
        when reading."""
        left = memoryview(b"".join(parts))
        deadline = time.monotonic() + PATIENCE
        while left and not self.closed:
            try:
                sent = self.sock.send(left)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                if time.monotonic() > deadline:
                    raise AssertionError(f"nothing could be written for {PATIENCE:g} s") from None
                if self._wait(0.2, writing=True):
                    self._read(0)
                continue
            except OSError:
                return False
            left, deadline = left[sent:], time.monotonic() + PATIENCE
        return not left

    def push(self, piece, times=1, patience=0.2):
        """Writes the piece so many times and reads nothing. Says how many bytes were taken, and how it
        ended: "taken" (all of them), "stopped" (the other side reads no more) or "closed"."""
        done, left = 0, memoryview(piece)
        while done < len(piece) * times:
            try:
                sent = self.sock.send(left)
            except (BlockingIOError, ssl.SSLWantWriteError):
                if not select.select([], [self.sock], [], patience)[1]:
                    return done, "stopped"
                continue
            except OSError:
                return done, "closed"
            done, left = done + sent, left[sent:] or memoryview(piece)
        return done, "taken"

    def hello(self, values=(), wait=True):
        """The preface and our settings; waits for the other side's settings and acknowledgement."""
        self.send(PREFACE)
        self.configure(values, wait=wait)
        if wait:
            self.until(lambda: self.settings_seen, "SETTINGS of the other side")
        return self

    def configure(self, values, wait=True):
        """Sends SETTINGS; a larger window counts from now, a smaller one from the acknowledgement."""
        want = self.acks + len(self._lower) + 1
        window = dict(values).get(INITIAL_WINDOW)
        change = None if window is None else window - self.initial
        self._lower.append(None if change is None or change > 0 else change)
        self._decoder.max_allowed_table_size = max(
            self._decoder.max_allowed_table_size, dict(values).get(TABLE_SIZE, 0))
        if change is not None and change > 0:
            self._shift(change)
        if not self.send(settings(values)):
            return
        if wait:
            self.until(lambda: self.acks >= want, "an acknowledgement of SETTINGS")

    def _shift(self, change):
        self.initial += change
        for stream in self.streams.values():
            stream.window += change

    def give(self, stream, increment):
        """Sends WINDOW_UPDATE and counts it."""
        if stream == 0:
            self.window += increment
        else:
            self.stream(stream).window += increment
        self.send(window_update(stream, increment))

    def wide(self):
        """Windows that no check fills."""
        self.configure({INITIAL_WINDOW: 1 << 24})
        self.give(0, 1 << 30)
        return self

    def headers(self, stream, fields=None, end=False, flags=END_HEADERS, raw=None):
        """A HEADERS frame. `raw` is a header block of bytes."""
        content = block(self.target.fields() if fields is None else fields) if raw is None else raw
        if self._owes_update:  # RFC 9113, 4.3.1: the other side lowered the table size
            content, self._owes_update = b"\x20" + content, False
        self.streams.setdefault(stream, Stream(self.initial))
        return frame(HEADERS, flags | (END_STREAM if end else 0), stream, content)

    def request(self, stream, path=None, body=b"", fields=None):
        """The frames of a whole unary request; without arguments one that is answered with OK."""
        fields = self.target.fields(path) if fields is None else fields
        return self.headers(stream, fields) + data(stream, message(body), end=True)

    def send_data(self, stream, payload, end=False):
        """Sends DATA as the windows of the other side permit."""
        sent = 0
        while sent < len(payload):
            room = lambda: min(  # noqa: E731
                self.may_send, self.announced.get(INITIAL_WINDOW, 65_535)
                + self.credit.get(stream, 0))
            self.until(lambda: room() > 0 or self.stream(stream).over,
                       f"WINDOW_UPDATE after {sent} of {len(payload)} bytes")
            if self.closed or self.stream(stream).over:
                return sent
            piece = payload[sent:sent + min(room(), 16_384)]
            sent += len(piece)
            self.may_send -= len(piece)
            self.credit[stream] = self.credit.get(stream, 0) - len(piece)
            self.send(data(stream, piece, end and sent == len(payload)))
        return sent

    # MARK: reading

    def stream(self, number):
        return self.streams.setdefault(number, Stream(self.initial))

    def until(self, condition, what, timeout=PATIENCE):
        """Reads until the condition holds or the connection has ended."""
        deadline = time.monotonic() + timeout
        while not condition() and not self.closed:
            left = deadline - time.monotonic()
            if left <= 0 or not self._read(left):
                if condition():
                    break
                raise AssertionError(f"not within {timeout:g} s: {what} ({self.describe()})")

    def within(self, condition, timeout):
        """Like `until`, but whether it came is the answer."""
        try:
            self.until(condition, "", timeout)
        except AssertionError as failure:
            if "not within" not in str(failure):
                raise
        return bool(condition())

    def ping(self):
        """Sends a PING and waits for its answer; False when the connection ended instead."""
        self._pings += 1
        payload = struct.pack(">Q", 0xC0FFEE00 + self._pings)
        self.send(frame(PING, 0, 0, payload))
        self.until(lambda: payload in self.pongs, "an answer to PING")
        return payload in self.pongs

    def finish(self, number):
        """Waits until a stream is over and returns it."""
        stream = self.stream(number)
        self.until(lambda: stream.over, f"the end of stream {number}")
        return stream

    def poll(self):
        """Reads what is there, without waiting."""
        while not self.closed and self._read(0):
            pass

    def _wait(self, timeout, writing=False):
        """Whether there is something to read; with `writing` it also ends when writing is possible."""
        if isinstance(self.sock, ssl.SSLSocket) and self.sock.pending():
            return True
        return bool(select.select(
            [self.sock], [self.sock] if writing else [], [], max(timeout, 0))[0])

    def _read(self, timeout):
        """Reads once. False when nothing came in time."""
        if not self._wait(timeout):
            return False
        try:
            received = self.sock.recv(self.portion)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return timeout > 0
        except OSError:
            received = b""
        if not received:
            self.closed = True
            return True
        self.buffer += received
        start = 0
        while len(self.buffer) - start >= 9:
            length = int.from_bytes(self.buffer[start:start + 3], "big")
            if len(self.buffer) - start < 9 + length:
                break
            self._frame(bytes(self.buffer[start:start + 9 + length]))
            start += 9 + length
        del self.buffer[:start]
        replies, self._replies = self._replies, []
        if replies:
            self.send(*replies)
        return True

    def _frame(self, raw):
        if len(raw) - 9 > self.frame_limit:
            raise AssertionError(f"a frame of {len(raw) - 9} bytes, above our limit")
        found, _ = parsed.Frame.parse_frame_header(memoryview(raw[:9]))
        found.parse_body(memoryview(raw[9:]))
        number = found.stream_id
        self.frames.append(type(found).__name__)
        if isinstance(found, parsed.SettingsFrame):
            self._settings(found)
        elif isinstance(found, parsed.PingFrame):
            if "ACK" in found.flags:
                self.pongs.append(found.opaque_data)
            else:
                self._replies.append(frame(PING, ACK, 0, found.opaque_data))
        elif isinstance(found, parsed.GoAwayFrame):
            self.goaway = (found.last_stream_id, found.error_code, found.additional_data)
        elif isinstance(found, parsed.RstStreamFrame):
            self.stream(number).reset = found.error_code
        elif isinstance(found, parsed.WindowUpdateFrame):
            if number == 0:
                self.may_send += found.window_increment
            else:
                self.credit[number] = self.credit.get(number, 0) + found.window_increment
        elif isinstance(found, parsed.DataFrame):
            self._data(self.stream(number), number, found)
        elif isinstance(found, (parsed.HeadersFrame, parsed.ContinuationFrame)):
            self._block = (self._block or b"") + found.data
            if isinstance(found, parsed.HeadersFrame):
                self._ends = "END_STREAM" in found.flags
            if "END_HEADERS" in found.flags:
                self.stream(number).headers.append(self._decoder.decode(self._block))
                self.stream(number).ended |= self._ends
                self._block = None

    def _settings(self, found):
        if "ACK" in found.flags:
            self.acks += 1
            if self._lower:
                change = self._lower.pop(0)
                if change:
                    self._shift(change)
            return
        self.settings_seen += 1
        self.announced.update(found.settings)
        if self.acknowledges:
            self._replies.append(frame(SETTINGS, ACK, 0))
            self._owes_update = self.announced.get(TABLE_SIZE, 4096) < 4096

    def _data(self, stream, number, found):
        size = found.flow_controlled_length
        self.window -= size
        stream.window -= size
        if size and (self.window < 0 or stream.window < 0):
            raise AssertionError(
                f"{size} bytes on stream {number} overrun a window: {self.window} left on the "
                f"connection, {stream.window} on the stream")
        if stream.over:
            raise AssertionError(f"DATA after the end of stream {number}")
        stream.body += found.data
        if size:
            stream.pieces.append(size)
        stream.ended |= "END_STREAM" in found.flags

    def describe(self):
        parts = [f"stream {number}: {stream.describe()}" for number, stream in
                 list(self.streams.items())[:3]]
        if self.goaway:
            parts.append(f"GOAWAY {code_name(self.goaway[1])} {self.goaway[2].decode(errors='replace')!r}")
        parts.append("connection closed" if self.closed else "connection open")
        return "; ".join(parts)
