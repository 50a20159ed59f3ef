"""The first bytes of a connection: preface, settings of both sides, and what is no HTTP/2 at all."""
import random
import socket

from frames import (
    ACK, ENABLE_PUSH, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, HEADERS, INITIAL_WINDOW, MAX_FRAME,
    MAX_HEADER_LIST, MAX_STREAMS, MAX_WINDOW, PING, PREFACE, PROTOCOL_ERROR, SETTINGS, TABLE_SIZE, frame,
    settings, window_update)
from judge import any_of, goaway, judge, served, unharmed


def run(suite):
    def announced(target):
        with target.peer() as peer:
            assert peer.frames[0] == "SettingsFrame", peer.frames
            wanted = {TABLE_SIZE: 0, MAX_STREAMS: 1000, MAX_HEADER_LIST: 16_384}
            found = {key: peer.announced.get(key) for key in wanted}
            assert found == wanted, f"announced {found}, wanted {wanted}"
            assert not peer.announced.get(ENABLE_PUSH), "a server must not enable push"
            assert 16_384 <= peer.announced.get(MAX_FRAME, 16_384) < 1 << 24
    suite.check("the server begins with SETTINGS that announce its limits", announced)

    def opening(first, verdict):
        def attack(target):
            with target.silent_peer() as peer:
                peer.send(first)
                judge(peer, verdict)
        return attack

    ended = goaway(PROTOCOL_ERROR, FRAME_SIZE_ERROR, silent=True)
    begin = PREFACE + settings()
    for what, first, verdict in (
            ("HTTP/1.1 instead of the preface", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", ended),
            ("an upgrade from HTTP/1.1", b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, "
             b"HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: \r\n\r\n", ended),
            ("a preface with a wrong last byte", PREFACE[:-1] + b"\r" + settings(), ended),
            ("a preface in lower case", PREFACE.lower() + settings(), ended),
            ("settings without a preface", settings() + frame(PING, 0, 0, bytes(8)) * 3, ended),
            ("the preface twice", begin + begin, goaway(PROTOCOL_ERROR, FRAME_SIZE_ERROR)),
            ("PING before SETTINGS", PREFACE + frame(PING, 0, 0, bytes(8)), ended),
            ("WINDOW_UPDATE before SETTINGS", PREFACE + window_update(0, 1), ended),
            ("HEADERS before SETTINGS", PREFACE + frame(HEADERS, 5, 1, b"\x83"), ended),
            ("an unknown frame before SETTINGS", PREFACE + frame(0xEE, 0, 0, b"x"), ended),
    ):
        suite.check(f"{what}: refused", opening(first, verdict))

    def half(target):
        with target.silent_peer() as peer:
            peer.send(PREFACE[:12])
            target.serve("half a preface")
            peer.send(PREFACE[12:], settings())
            peer.until(lambda: peer.settings_seen and peer.acks, "the settings")
            peer.send(peer.request(1))
            judge(peer, served())
    suite.check("half a preface: others are served, and so is this one once it goes on", half)

    def in_bytes(target):
        with target.silent_peer() as peer:
            for byte in PREFACE + settings({INITIAL_WINDOW: 70_000}) + peer.request(1):
                peer.send(bytes([byte]))
            judge(peer, served())
    suite.check("a connection written byte by byte is served", in_bytes)

    def at_once(target):
        with target.silent_peer() as peer:
            peer.send(begin, peer.request(1), peer.request(3), peer.request(5))
            for number in (1, 3, 5):
                judge(peer, served(number))
    suite.check("requests sent before the server's settings were read are served", at_once)

    values(suite)
    garbage(suite)


def values(suite):
    call = lambda peer: peer.request(1)  # noqa: E731

    def then_call(values):
        def attack(peer):
            peer.configure(values, wait=False)
            return peer.request(1)
        return attack

    suite.table([
        ("SETTINGS: ENABLE_PUSH 2", settings({ENABLE_PUSH: 2}), goaway(PROTOCOL_ERROR)),
        ("SETTINGS: INITIAL_WINDOW_SIZE 2^31", settings({INITIAL_WINDOW: 1 << 31}),
         goaway(FLOW_CONTROL_ERROR)),
        ("SETTINGS: MAX_FRAME_SIZE 16383", settings({MAX_FRAME: 16_383}), goaway(PROTOCOL_ERROR)),
        ("SETTINGS: MAX_FRAME_SIZE 2^24", settings({MAX_FRAME: 1 << 24}), goaway(PROTOCOL_ERROR)),
        ("SETTINGS: a bad value after good ones",
         settings([(MAX_STREAMS, 1), (INITIAL_WINDOW, 9), (ENABLE_PUSH, 3)]), goaway(PROTOCOL_ERROR)),
        ("SETTINGS of 5 bytes", frame(SETTINGS, 0, 0, bytes(5)), goaway(FRAME_SIZE_ERROR)),
        ("SETTINGS of 7 bytes", frame(SETTINGS, 0, 0, bytes(7)), goaway(FRAME_SIZE_ERROR)),
        ("an acknowledgement of SETTINGS with content", settings({MAX_STREAMS: 1}, flags=ACK),
         goaway(FRAME_SIZE_ERROR)),
        ("SETTINGS on a stream", settings(stream=1), goaway(PROTOCOL_ERROR)),
        ("an acknowledgement of SETTINGS that nobody waits for", frame(SETTINGS, ACK, 0) * 2,
         any_of(unharmed(), goaway(PROTOCOL_ERROR))),
        ("SETTINGS: the largest values are served", then_call({
            TABLE_SIZE: 2**32 - 1, MAX_STREAMS: 2**32 - 1, INITIAL_WINDOW: MAX_WINDOW,
            MAX_FRAME: (1 << 24) - 1, MAX_HEADER_LIST: 2**32 - 1}), served()),
        ("SETTINGS: the smallest values are served", then_call({
            TABLE_SIZE: 0, ENABLE_PUSH: 0, MAX_STREAMS: 0, MAX_FRAME: 16_384}), served()),
        ("SETTINGS: unknown and repeated identifiers are served", then_call(
            [(0xABC, 7), (0, 1), (INITIAL_WINDOW, 1), (INITIAL_WINDOW, 70_000), (0xFFFF, 2**32 - 1)]),
         served()),
    ])

    def ten(target):
        with target.peer() as peer:
            before = peer.acks
            for number in range(10):
                peer.configure({INITIAL_WINDOW: 65_535 + number}, wait=False)
            peer.until(lambda: peer.acks == before + 10, "ten acknowledgements")
            peer.send(call(peer))
            judge(peer, served())
            assert peer.acks == before + 10, peer.acks
    suite.check("ten SETTINGS are acknowledged ten times", ten)


def garbage(suite):
    noise = random.Random(9113)
    inputs = {
        "random bytes": noise.randbytes(4096),
        "zeros": bytes(1 << 20),
        "a TLS client hello": bytes.fromhex("16030100a5010000a10303") + noise.randbytes(160),
        "a preface and random bytes": PREFACE + settings() + noise.randbytes(4096),
        "nothing": b"",
        "a line of text": b"\r\n",
    }

    def throw(target, data, plain):
        with (target.connect_plain() if plain else target.connect()) as sock:
            try:
                sock.sendall(data)
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(1 << 16):
                    pass
            except TimeoutError:
                raise AssertionError("the connection was not ended") from None
            except OSError:
                pass

    for name, data in inputs.items():
        suite.check(f"{name} instead of HTTP/2",
                    lambda target, data=data: throw(target, data, plain=False))
    tls = [target for target in suite.targets if target.port]
    for name, data in {**inputs, "HTTP/2 without TLS": PREFACE + settings()}.items():
        suite.check(f"{name} instead of TLS", lambda target, data=data: throw(target, data, plain=True),
                    on=tls)

    def mutated(target):
        for _ in range(60):
            with target.peer() as peer:
                good = bytearray(peer.request(1) + peer.request(3) + frame(PING, 0, 0, bytes(8)))
                for _ in range(noise.randrange(1, 6)):
                    good[noise.randrange(len(good))] = noise.randrange(256)
                peer.send(bytes(good))
                peer.poll()
        target.serve("mutations")
    suite.check("requests with random bytes changed", mutated)
