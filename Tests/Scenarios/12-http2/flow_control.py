"""Windows: the server keeps to ours, whatever we do to them, and gives its own back."""
from frames import (
    FLOW_CONTROL_ERROR, INITIAL_WINDOW, MAX_WINDOW, data, message, rst_stream, settings, window_update)
from judge import any_of, failed, goaway, judge, reset, served, status
from targets import BUNDLE, FETCH, HEALTH, VALIDATE, validate

NOWHERE = "/no.such.Service/Method"


def reply(target):
    """A call with the longest answer the socket has, and whether that call stays open."""
    return target.watch or target.path


def complete(stream):
    """Whether the first message has come in full."""
    return len(stream.body) >= 5 and len(stream.body) >= 5 + int.from_bytes(stream.body[1:5], "big")


def exactly(peer, number, count):
    """Waits for so many bytes, and sees to it that no more come."""
    stream = peer.stream(number)
    peer.until(lambda: len(stream.body) >= count or stream.over, f"{count} bytes on stream {number}")
    assert peer.ping(), peer.describe()
    assert len(stream.body) == count, f"{len(stream.body)} bytes instead of {count}"


def run(suite):
    ours(suite)
    connection(suite)
    theirs(suite)


def ours(suite):
    def pieces(target):
        first = 3 if target.path == HEALTH and not target.watch else 10
        with target.peer({INITIAL_WINDOW: first}) as peer:
            peer.send(peer.request(1, reply(target)))
            exactly(peer, 1, first)
            peer.give(1, 2)
            exactly(peer, 1, first + 2)
            for _ in range(2):
                peer.give(1, 1)
            peer.until(lambda: len(peer.stream(1).body) == first + 4, "two more bytes")
            peer.give(1, 1 << 20)
            peer.until(lambda: complete(peer.stream(1)), "the rest of the message")
            assert max(peer.stream(1).pieces[:2]) <= first, peer.stream(1).pieces
    suite.check("a window of 10 bytes, then a little more, then the rest", pieces)

    def shut(target):
        with target.peer({INITIAL_WINDOW: 0}) as peer:
            peer.send(peer.request(1, reply(target)))
            peer.until(lambda: peer.stream(1).headers, "header fields")
            exactly(peer, 1, 0)
            # What is no DATA is not held back.
            peer.send(peer.request(3, NOWHERE))
            judge(peer, status(12, stream=3))
            peer.configure({INITIAL_WINDOW: 1 << 20})
            peer.until(lambda: complete(peer.stream(1)), "the message")
    suite.check("a window of 0 bytes: header fields and errors still come", shut)

    def negative(target):
        with target.peer({INITIAL_WINDOW: 100}) as peer:
            peer.send(peer.request(1, reply(target)))
            exactly(peer, 1, 100)
            peer.configure({INITIAL_WINDOW: 10})
            peer.give(1, 90)
            exactly(peer, 1, 100)
            peer.give(1, 5)
            exactly(peer, 1, 105)
            peer.configure({INITIAL_WINDOW: 0})
            peer.configure({INITIAL_WINDOW: 40})
            exactly(peer, 1, 135)
            peer.configure({INITIAL_WINDOW: 1 << 20})
            peer.until(lambda: complete(peer.stream(1)), "the rest of the message")
    suite.check("INITIAL_WINDOW_SIZE changes under way, below zero and back", negative,
                on=[target for target in suite.targets if reply(target) in (FETCH, BUNDLE)])

    def new_streams(target):
        """A change concerns the streams that are open and those to come."""
        first = 3 if target.path == HEALTH and not target.watch else 10
        with target.peer({INITIAL_WINDOW: 0}) as peer:
            peer.configure({INITIAL_WINDOW: first})
            peer.send(peer.request(1, reply(target)))
            exactly(peer, 1, first)
            peer.configure({INITIAL_WINDOW: 0})
            peer.send(peer.request(3, reply(target)))
            exactly(peer, 3, 0)
            exactly(peer, 1, first)
            peer.configure({INITIAL_WINDOW: 1 << 20})
            for number in (1, 3):
                peer.until(lambda: complete(peer.stream(number)), "the rest")  # noqa: B023
    suite.check("INITIAL_WINDOW_SIZE holds for streams opened later", new_streams)

    suite.table([
        ("INITIAL_WINDOW_SIZE that overflows the window of an open stream",
         lambda peer: peer.headers(1) + window_update(1, MAX_WINDOW - 65_535)
         + settings({INITIAL_WINDOW: 65_536}), goaway(FLOW_CONTROL_ERROR)),
        ("INITIAL_WINDOW_SIZE up to the limit of an open stream",
         lambda peer: peer.headers(1) + window_update(1, MAX_WINDOW - 65_535)
         + settings({INITIAL_WINDOW: 65_535}) + data(1, message(), True), served()),
        ("the largest windows everywhere", lambda peer: settings({INITIAL_WINDOW: MAX_WINDOW})
         + window_update(0, MAX_WINDOW - 65_535) + peer.request(1), served()),
    ])

    def cancelled(target):
        with target.peer({INITIAL_WINDOW: 1}) as peer:
            numbers = range(1, 401, 2)
            peer.send(b"".join(peer.request(number, reply(target)) for number in numbers))
            peer.until(lambda: all(len(peer.stream(number).body) == 1 for number in numbers),
                       "one byte on each of 200 streams")
            peer.send(b"".join(rst_stream(number) for number in numbers))
            peer.give(0, 1 << 20)
            peer.send(peer.request(401))
            peer.give(401, 1 << 20)
            judge(peer, served(401))
    suite.check("200 answers that wait for a window are given up on RST_STREAM", cancelled)


def connection(suite):
    def shared(target):
        """Answers of more than 65,535 bytes together; nobody opens the connection's window."""
        with target.peer() as peer:
            peer.send(peer.request(1, reply(target)))
            peer.until(lambda: complete(peer.stream(1)), "a message")
            size = len(peer.stream(1).body)
            last = 3 + 2 * (65_535 // size + 10)
            numbers = range(1, last, 2)
            total = lambda: sum(len(peer.stream(number).body) for number in numbers)  # noqa: E731
            peer.send(b"".join(peer.request(number, reply(target)) for number in numbers[1:]))
            peer.until(lambda: total() == 65_535, "the whole window in use")
            assert peer.ping() and total() == 65_535, total()
            # Streams that are given up make no room: what they got was received.
            waiting = [number for number in numbers if not complete(peer.stream(number))]
            assert len(waiting) > 5, waiting
            peer.send(*(rst_stream(number) for number in waiting[::2]))
            peer.give(0, 100)
            peer.until(lambda: total() == 65_635, "100 bytes more")
            peer.give(0, 1 << 20)
            for number in waiting[1::2]:
                peer.until(lambda: complete(peer.stream(number)), "the rest")  # noqa: B023
    suite.check("the connection's window holds for all streams together", shared,
                on=[target for target in suite.targets if reply(target) in (FETCH, BUNDLE)])


def theirs(suite):
    def unknown_field(size):
        """A message that no service knows a word of, and that is valid nevertheless."""
        length = size.to_bytes(4, "little")
        return b"\x7a" + bytes([length[0] & 0x7F | 0x80, size >> 7 & 0x7F | 0x80,
                                size >> 14 & 0x7F | 0x80, size >> 21]) + bytes(size)

    def upload(target):
        with target.peer() as peer:
            if target.watch:
                body, wanted = validate(60_000), status(3, stream=1)
                for number in range(1, 61, 2):
                    peer.send(peer.headers(number, target.fields(VALIDATE)))
                    peer.send_data(number, message(body), end=True)
                    assert peer.finish(number).status == 3, peer.stream(number).describe()
                return
            peer.send(peer.headers(1))
            sent = peer.send_data(1, message(unknown_field(3 << 20)), end=True)
            wanted = served()
            assert sent > 3 << 20, f"{sent} bytes could be sent: {peer.describe()}"
            judge(peer, wanted)
    suite.check("what a call has read is given back to the windows", upload)

    def wasted(target, prepare, after):
        """16 KiB on each of 200 streams that nobody reads: 3 MB through one connection."""
        with target.peer() as peer:
            for number in range(1, 401, 2):
                peer.until(lambda: peer.may_send >= 16_384, "WINDOW_UPDATE on the connection")
                assert not peer.closed, f"stream {number}: {peer.describe()}"
                peer.send(prepare(peer, number), data(number, message(bytes(16_379))), after(number))
                peer.may_send -= 16_384
            peer.send(peer.request(401))
            judge(peer, served(401))

    suite.check("DATA of refused calls is given back to the connection's window", lambda target: wasted(
        target, lambda peer, number: peer.headers(number, target.fields(NOWHERE)),
        lambda number: b""))
    suite.check("DATA of withdrawn calls is given back to the connection's window",
                lambda target: wasted(
                    target, lambda peer, number: peer.headers(number), rst_stream))
    suite.check("DATA on closed streams is given back to the connection's window, or refused",
                lambda target: given_back_or_refused(target))

    def given_back_or_refused(target):
        with target.peer() as peer:
            peer.send(peer.headers(1), rst_stream(1))
            for _ in range(200):
                if not peer.within(lambda: peer.may_send >= 16_384 or peer.closed, 10.0):
                    raise AssertionError("no WINDOW_UPDATE for DATA on a closed stream")
                if peer.closed:
                    break
                peer.send(data(1, bytes(16_384)))
                peer.may_send -= 16_384
            else:
                peer.send(peer.request(3))
                judge(peer, served(3))

    def too_much(peer):
        """More than the stream's window in one go, of a message that is never complete."""
        window = peer.announced.get(INITIAL_WINDOW, 65_535)
        whole = message(bytes(60_000))[:5] + bytes(59_999) + bytes(window)
        return peer.headers(1) + b"".join(
            data(1, whole[start:start + 16_384]) for start in range(0, len(whole), 16_384)) + data(
                1, end=True)
    suite.case("more DATA than the window", too_much, any_of(
        reset(FLOW_CONTROL_ERROR), goaway(FLOW_CONTROL_ERROR), failed()))
