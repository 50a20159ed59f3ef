"""Clients that send without end, with and without reading. The program may refuse them (with
ENHANCE_YOUR_CALM), stop reading, or put up with it; it may not grow, and others are served meanwhile."""
import threading

from frames import (
    ACK, CANCEL, CONTINUATION, END_HEADERS, ENHANCE_YOUR_CALM, HEADERS, INITIAL_WINDOW, MAX_WINDOW,
    NO_ERROR, PING, PROTOCOL_ERROR, STREAM_CLOSED, data, frame, goaway, literal, message, priority,
    rst_stream, settings, window_update)
from judge import LONG
from measure import bounded
from targets import Honest

# KiB by which memory may grow while a flood goes on. Buffers of sockets and of the allocator are in it.
SLACK = 12 * 1024
MANY = 5_000 if LONG else 2_000
MANY_FRAMES = 20_000 if LONG else 5_000
CALM = (NO_ERROR, ENHANCE_YOUR_CALM, PROTOCOL_ERROR, STREAM_CLOSED)


REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"


def room(peer, stream):
    """How many bytes the program's windows permit on a stream."""
    return min(peer.may_send,
               peer.announced.get(INITIAL_WINDOW, 65_535) + peer.credit.get(stream, 0))


class Others:
    """An honest client on a connection of its own, for as long as the block lasts."""

    def __init__(self, target):
        self.client = Honest(target)
        self.calls = 0
        self.failure = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        while not self._stop.is_set():
            try:
                self.client.call()
                self.calls += 1
            except Exception as failure:  # told to the check
                self.failure = failure
                return
            self._stop.wait(0.01)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, kind, *_):
        self._stop.set()
        self._thread.join(30)
        self.client.close()
        if kind is None:
            assert self.failure is None and not self._thread.is_alive(), (
                f"an honest client was not served meanwhile: {self.failure!r}")
            assert self.calls, "an honest client got no answer meanwhile"


def run(suite):
    endless(suite)
    resets(suite)
    unread(suite)


def check(suite, what, attack, on=None):
    suite.check_alone(what, lambda target: bounded(
        target, lambda memory: attack(target, memory), SLACK), on=on)


def flood(suite, what, piece, count, begin=None, calm=CALM):
    """A check with two clients: one reads the answers, the other one does not."""
    def attack(target, memory):
        with Others(target):
            with target.peer() as peer:
                if begin:
                    peer.send(begin(peer))
                many = piece * max(1, 16_384 // len(piece))
                for _ in range(count * len(piece) // len(many)):
                    peer.send(many)
                    peer.poll()
                    if peer.closed or peer.goaway:
                        break
                memory.look()
                peer.within(lambda: peer.closed, 2.0) if peer.goaway else peer.ping()
                if peer.goaway or peer.closed:
                    assert peer.goaway and peer.goaway[1] in calm, peer.describe()
            with target.peer() as peer:
                if begin:
                    peer.send(begin(peer))
                peer.push(many, (1 << 20) // len(many))
                memory.look()
    check(suite, f"{what}, with and without reading", attack, [suite.workload_api])


def endless(suite):
    opened = lambda peer: peer.headers(1)  # noqa: E731
    flood(suite, f"{MANY_FRAMES:,} PINGs", frame(PING, 0, 0, b"pingping"), MANY_FRAMES)
    flood(suite, f"{MANY_FRAMES:,} SETTINGS", settings({INITIAL_WINDOW: 65_535}), MANY_FRAMES)
    flood(suite, f"{MANY_FRAMES:,} SETTINGS that change all windows",
          settings({INITIAL_WINDOW: 1}) + settings({INITIAL_WINDOW: 1 << 20}), MANY_FRAMES // 2, opened)
    flood(suite, f"{MANY_FRAMES:,} empty DATA frames", data(1), MANY_FRAMES, opened)
    flood(suite, f"{MANY_FRAMES:,} PRIORITYs", priority(3), MANY_FRAMES)
    flood(suite, f"{MANY_FRAMES:,} WINDOW_UPDATEs", window_update(0, 1), MANY_FRAMES)
    flood(suite, f"{MANY_FRAMES:,} unknown frames", frame(0xEE, 0, 0, b"?"), MANY_FRAMES)
    flood(suite, f"{MANY_FRAMES:,} answers to PING", frame(PING, ACK, 0, bytes(8)), MANY_FRAMES)
    flood(suite, f"{MANY_FRAMES:,} GOAWAYs", goaway(), MANY_FRAMES)
    flood(suite, f"{MANY_FRAMES:,} RST_STREAMs on one stream", rst_stream(1), MANY_FRAMES, opened)
    flood(suite, f"{MANY_FRAMES:,} DATA frames on a closed stream", data(1, b"x"), MANY_FRAMES,
          lambda peer: peer.headers(1) + rst_stream(1))
    # The block never ends, so there is nothing else to do than to give up.
    flood(suite, f"{MANY_FRAMES:,} empty CONTINUATIONs", frame(CONTINUATION, 0, 1), MANY_FRAMES,
          lambda peer: frame(HEADERS, 0, 1, peer.headers(1)[9:]))
    flood(suite, "16 MiB of CONTINUATION", frame(CONTINUATION, 0, 1, literal("x", "y" * 16_000)),
          1_000, lambda peer: frame(HEADERS, 0, 1, peer.headers(1)[9:]))


def resets(suite):
    def repeated(what, make, count, on):
        """Streams opened and ended at once, as fast as it goes."""
        def attack(target, memory):
            with Others(target):
                with target.peer() as peer:
                    for start in range(1, 2 * count, 200):
                        peer.send(b"".join(make(peer, number)
                                           for number in range(start, start + 200, 2)))
                        peer.poll()
                        peer.streams.clear()
                        if peer.closed or peer.goaway:
                            break
                    memory.look()
                    peer.within(lambda: peer.closed, 2.0) if peer.goaway else peer.ping()
                    if peer.goaway or peer.closed:
                        assert peer.goaway and peer.goaway[1] in CALM, peer.describe()
                with target.peer() as peer:
                    for start in range(1, 2 * count, 200):
                        _, how = peer.push(b"".join(
                            make(peer, number) for number in range(start, start + 200, 2)))
                        if how != "taken":
                            break
                    memory.look()
        check(suite, what, attack, on)

    api = [suite.workload_api]
    repeated("10,000 streams opened and reset by the client",
             lambda peer, number: peer.headers(number) + rst_stream(number, CANCEL), 10_000, None)
    repeated("10,000 whole requests reset by the client",
             lambda peer, number: peer.request(number) + rst_stream(number, CANCEL), 10_000, api)
    repeated(f"{MANY:,} calls that stay open, reset by the client",
             lambda peer, number: peer.request(number, peer.target.watch or peer.target.path)
             + rst_stream(number, CANCEL), MANY, api)
    repeated(f"{MANY:,} streams that the server is made to reset, by WINDOW_UPDATE of 0",
             lambda peer, number: peer.headers(number) + window_update(number, 0), MANY, api)
    repeated(f"{MANY:,} streams that the server is made to reset, by DATA after END_STREAM",
             lambda peer, number: peer.request(number) + data(number, b"x"), MANY, api)
    repeated(f"{MANY:,} malformed requests", lambda peer, number: peer.headers(
        number, [("X", "y")], end=True), MANY, None)
    repeated(f"{MANY:,} refused calls", lambda peer, number: peer.request(number, "/no/Method"), MANY, api)


def unread(suite):
    """Clients that ask for much and read nothing: what waits for them is bounded."""
    def asks(target, memory):
        path = target.watch or target.path
        with Others(target):
            with target.silent_peer(small=True) as peer:
                peer.hello().wide()
                for start in range(1, 20_001, 100):
                    _, how = peer.push(b"".join(
                        peer.request(number, path) for number in range(start, start + 100, 2)))
                    if how != "taken":
                        break
                memory.look()
                # TCP has room for megabytes on both sides.
                assert how == "stopped" or target.port, f"the program went on reading: {how}"
    check(suite, "10,000 calls of a client that never reads", asks)

    def late(target):
        """It asks until the program stops listening, and only then begins to read, bit by bit."""
        path = target.watch or target.path
        with target.silent_peer(small=True) as peer:
            peer.hello().wide()
            asked, how = [], "taken"
            while how == "taken" and len(asked) < 900:
                numbers = range(len(asked) * 2 + 1, len(asked) * 2 + 61, 2)
                piece = b"".join(peer.request(number, path) for number in numbers)
                taken, how = peer.push(piece)
                asked += numbers
            peer.portion = 1000
            peer.send(piece[taken:])
            peer.until(lambda: all(len(peer.stream(number).body) >= 5 or peer.stream(number).over
                                   for number in asked), f"{len(asked)} answers")
            missed = [number for number in asked if not peer.stream(number).body]
            assert not missed, f"{len(missed)} of {len(asked)} calls got no answer: {peer.describe()}"
    suite.check("a client that reads late, and a little at a time, gets everything", late)

    def windowless(target, memory):
        """It reads, but never opens a window: answers wait inside the program, up to a bound."""
        with Others(target):
            with target.peer({INITIAL_WINDOW: 0}) as peer:
                for start in range(1, 2001, 200):
                    peer.send(b"".join(peer.request(number, target.watch or target.path)
                                       for number in range(start, min(start + 200, 1999), 2)))
                    peer.poll()
                assert peer.ping(), peer.describe()
                memory.look()
    check(suite, "999 calls of a client that opens no window", windowless)

    def empty(target, memory):
        """Messages of no bytes to a method that reads as it answers, while the client opens no window: each
        costs the client five bytes, and must not cost the program more than a bounded number of them."""
        with Others(target):
            with target.peer({INITIAL_WINDOW: 0}) as peer:
                peer.send(peer.headers(1, target.fields(REFLECTION)))
                piece, sent = bytes(5) * 3_000, 0
                while sent < 12 << 20 and not peer.closed and not peer.stream(1).over:
                    if not peer.within(lambda: room(peer, 1) >= len(piece), 1.0):
                        break
                    sent += peer.send_data(1, piece)
                memory.look()
                assert sent < 12 << 20, f"the program went on reading: {sent} bytes"
    check(suite, "empty messages of a client that opens no window", empty, [suite.workload_api])

    def many(target, memory):
        """A hundred connections, each half-way in something."""
        peers = []
        with Others(target):
            try:
                for number in range(100):
                    peer = target.peer({INITIAL_WINDOW: (0, MAX_WINDOW)[number % 2]})
                    peers.append(peer)
                    peer.send(peer.request(1, target.watch or target.path), peer.headers(3),
                              data(3, message(bytes(5000))[:3000]))
                    peer.send(frame(HEADERS, 0, 5, b"")
                              + frame(CONTINUATION, (0, END_HEADERS)[number % 4 == 3], 5,
                                      peer.headers(5)[9:29]))
                target.serve("a hundred connections half-way")
                memory.look()
            finally:
                for number, peer in enumerate(peers):
                    peer.close() if number % 2 else peer.reset_connection()
    check(suite, "a hundred connections, each with something half-way", many)

    def silent(target):
        with Others(target):
            connections = [target.connect_plain() for _ in range(200)]
            target.serve("two hundred silent connections")
            for connection in connections:
                connection.close()
    suite.check_alone("two hundred connections that say nothing", silent)
