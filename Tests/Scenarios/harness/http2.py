"""A gRPC call by hand over a socket that somebody else may have opened.

Just enough HTTP/2 for one call: no library can be given a connected descriptor, and the impostor
scenarios are about exactly that. Also a command:

    python http2.py FD|PATH      calls FetchX509SVID and prints the identity, or why there is none
"""
import json
import socket
import struct
import sys

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(
        ">I", stream) + payload


def _literal(name, value):
    """One header field, not indexed, no Huffman code (all lengths here are below 127)."""
    return (b"\x00" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode())


def request(path, message, stream=1):
    """The frames of a unary request."""
    fields = b"".join(_literal(name, value) for name, value in (
        (":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "localhost"),
        ("content-type", "application/grpc"), ("te", "trailers"),
        ("workload.spiffe.io", "true")))
    body = b"\x00" + struct.pack(">I", len(message)) + message
    return frame(HEADERS, 4, stream, fields) + frame(DATA, 1, stream, body)


def call(sock, path, message=b"", timeout=5.0, opened=False):
    """Makes a call on a connected socket and returns the first message, or None when it is refused.

    With `opened` the preface and the settings have been sent before.
    """
    sock.settimeout(timeout)
    if not opened:
        sock.sendall(PREFACE + frame(SETTINGS, 0, 0))
    sock.sendall(request(path, message))
    received = body = b""
    try:
        while True:
            while len(received) < 9:
                received += _receive(sock)
            length = int.from_bytes(received[:3], "big")
            while len(received) < 9 + length:
                received += _receive(sock)
            kind, flags, payload = received[3], received[4], received[9:9 + length]
            received = received[9 + length:]
            if kind == SETTINGS and not flags & 1:
                sock.sendall(frame(SETTINGS, 1, 0))
            elif kind == PING and not flags & 1:
                sock.sendall(frame(PING, 1, 0, payload))
            elif kind == DATA:
                body += payload
                if len(body) >= 5 and len(body) - 5 >= int.from_bytes(body[1:5], "big"):
                    return body[5:5 + int.from_bytes(body[1:5], "big")]
            elif kind in (RST_STREAM, GOAWAY) or (kind == HEADERS and flags & 1):
                return None
    except (OSError, EOFError):
        return None


def _receive(sock):
    data = sock.recv(65536)
    if not data:
        raise EOFError
    return data


def spiffe_ids(message):
    """The SPIFFE IDs of an X509SVIDResponse: field 1 of each message in field 1."""
    def fields(data):
        while data:
            key, data = _varint(data)
            assert key & 7 == 2, "only length-delimited fields here"
            size, data = _varint(data)
            yield key >> 3, data[:size]
            data = data[size:]
    return [
        value.decode() for number, svid in fields(message) if number == 1
        for inner, value in fields(svid) if inner == 1]


def _varint(data):
    value = shift = 0
    for index, byte in enumerate(data):
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, data[index + 1:]
        shift += 7
    raise ValueError("a number cut short")


def fetch(sock, **options):
    """The SPIFFE IDs that FetchX509SVID gives on this socket; [] when it is refused."""
    message = call(sock, "/SpiffeWorkloadAPI/FetchX509SVID", **options)
    return [] if message is None else spiffe_ids(message)


if __name__ == "__main__":
    where = sys.argv[1]
    if where.isdigit():
        connection = socket.socket(fileno=int(where))
    else:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(where)
    print(json.dumps(fetch(connection)), flush=True)
