"""Mistakes that concern one stream: RST_STREAM with the right code, while the connection goes on. And the
states of a stream: what a client may still send, and what it may not."""
from frames import (
    CANCEL, CONTINUATION, END_HEADERS, ENHANCE_YOUR_CALM, FLOW_CONTROL_ERROR, HEADERS, MAX_STREAMS,
    MAX_WINDOW, NO_ERROR, PROTOCOL_ERROR, REFUSED_STREAM, STREAM_CLOSED, WITH_PRIORITY, data, frame,
    message, priority, rst_stream, window_update)
from judge import any_of, failed, goaway, judge, open_still, reset, served, status, unharmed

# RFC 9113, 5.1 lets an endpoint that has forgotten a closed stream end the connection.
closed = any_of(reset(STREAM_CLOSED), goaway(STREAM_CLOSED))


def run(suite):
    def opened(*after):
        return lambda peer: peer.headers(1) + b"".join(after)

    suite.table([
        ("WINDOW_UPDATE of 0 on a stream", opened(window_update(1, 0)), reset(PROTOCOL_ERROR)),
        ("WINDOW_UPDATE that overflows a stream's window", opened(window_update(1, MAX_WINDOW)),
         reset(FLOW_CONTROL_ERROR)),
        ("WINDOW_UPDATE that overflows it in two steps",
         opened(window_update(1, MAX_WINDOW - 65_535), window_update(1, 1)), reset(FLOW_CONTROL_ERROR)),
        ("WINDOW_UPDATE up to the limit", opened(window_update(1, MAX_WINDOW - 65_535)), open_still(1)),
        ("PRIORITY that depends on itself",
         lambda peer: priority(1, depends_on=1) + peer.request(1),
         any_of(served(), reset(PROTOCOL_ERROR), goaway(PROTOCOL_ERROR))),
        ("HEADERS that depend on themselves", lambda peer: frame(
            HEADERS, END_HEADERS | WITH_PRIORITY, 1, b"\0\0\0\1\x0f" + peer.headers(1)[9:])
         + data(1, message(), True),
         any_of(served(), reset(PROTOCOL_ERROR), goaway(PROTOCOL_ERROR))),
        ("RST_STREAM with a code nobody knows",
         lambda peer: peer.headers(1) + rst_stream(1, 0xFFFFFFFF) + peer.request(3), served(3)),
        ("RST_STREAM twice",
         lambda peer: peer.headers(1) + rst_stream(1) + rst_stream(1) + peer.request(3), served(3)),
        ("WINDOW_UPDATE and PRIORITY after RST_STREAM", lambda peer: peer.headers(1) + rst_stream(1)
         + window_update(1, 1) + priority(1) + peer.request(3), served(3)),
    ])

    def one_of_two(target):
        with target.peer() as peer:
            peer.send(peer.headers(1), peer.headers(3), window_update(1, 0))
            judge(peer, reset(PROTOCOL_ERROR))
            peer.send(data(3, message(), end=True), peer.request(5))
            judge(peer, served(3))
            judge(peer, served(5))
    suite.check("an error on one stream leaves the other streams alone", one_of_two)

    states(suite)
    half_closed(suite)
    limit(suite)


def states(suite):
    suite.table([
        ("DATA after RST_STREAM from the client",
         lambda peer: peer.headers(1) + rst_stream(1) + data(1, b"x"), any_of(closed, unharmed())),
        ("HEADERS after RST_STREAM from the client",
         lambda peer: peer.headers(1) + rst_stream(1) + peer.headers(1, end=True),
         any_of(reset(STREAM_CLOSED), goaway(STREAM_CLOSED, PROTOCOL_ERROR))),
        ("a stream number that was skipped",
         lambda peer: peer.headers(7) + peer.headers(3), goaway(PROTOCOL_ERROR, STREAM_CLOSED)),
        ("CONTINUATION after RST_STREAM",
         lambda peer: peer.headers(1) + rst_stream(1) + frame(CONTINUATION, END_HEADERS, 1, b"\x83"),
         goaway(PROTOCOL_ERROR, STREAM_CLOSED)),
    ])

    def answered(target, late, verdict):
        """A call that has ended in both directions, then this."""
        with target.peer() as peer:
            peer.send(peer.request(1))
            judge(peer, served())
            stream = peer.streams.pop(1)
            stream.reset = None
            peer.send(late(peer))
            judge(peer, verdict)

    calm = any_of(unharmed(), closed)
    for what, late, verdict in (
            ("DATA", lambda peer: data(1, b"x"), any_of(closed, goaway(STREAM_CLOSED))),
            ("an empty DATA", lambda peer: data(1, end=True), any_of(closed, goaway(STREAM_CLOSED))),
            ("HEADERS", lambda peer: peer.request(1),
             any_of(reset(STREAM_CLOSED), goaway(STREAM_CLOSED, PROTOCOL_ERROR))),
            ("WINDOW_UPDATE", lambda peer: window_update(1, 5), calm),
            ("RST_STREAM", lambda peer: rst_stream(1), calm),
            ("PRIORITY", lambda peer: priority(1), unharmed()),
    ):
        suite.check(f"{what} on a stream that has ended",
                    lambda target, late=late, verdict=verdict: answered(target, late, verdict))

    def after_our_reset(target):
        with target.peer() as peer:
            peer.send(peer.headers(1), window_update(1, 0))
            judge(peer, reset(PROTOCOL_ERROR))
            # Frames that were on their way: RFC 9113, 5.4.2.
            peer.send(data(1, b"x" * 1000), data(1, b"y", end=True), window_update(1, 9), rst_stream(1))
            judge(peer, any_of(unharmed(), goaway(STREAM_CLOSED)))
            if not peer.closed:
                peer.send(peer.request(3))
                judge(peer, served(3))
    suite.check("frames on a stream that the server has just reset", after_our_reset)


def half_closed(suite):
    """The client has said END_STREAM; the server has not, because the call stays open."""
    def watching(peer):
        peer.send(peer.request(1, peer.target.watch))
        peer.until(lambda: len(peer.stream(1).body) > 5, "the first message")

    on = [suite.workload_api]

    def case(what, late, verdict):
        def attack(peer):
            watching(peer)
            return late(peer)
        suite.case(what, attack, verdict, on=on)

    case("DATA after END_STREAM", lambda peer: data(1, b"x"), closed)
    case("empty DATA after END_STREAM", lambda peer: data(1, end=True), closed)
    case("HEADERS after END_STREAM", lambda peer: peer.headers(1, [("x", "y")], end=True),
         any_of(reset(STREAM_CLOSED), goaway(STREAM_CLOSED, PROTOCOL_ERROR)))
    case("WINDOW_UPDATE and PRIORITY after END_STREAM",
         lambda peer: window_update(1, 5) + priority(1), open_still(1))

    def cancelled(target):
        with target.peer() as peer:
            watching(peer)
            peer.send(rst_stream(1, CANCEL), peer.request(3))
            judge(peer, served(3))
            assert peer.stream(1).reset is None, "RST_STREAM answered with RST_STREAM"
    suite.check("a call that stays open is cancelled by RST_STREAM", cancelled, on=on)

    def input_ended(target):
        """shutdown(2) of the writing side is no reason to lose the answer of a call."""
        with target.peer() as peer:
            peer.send(peer.request(1))
            peer.finish(1)
            peer.sock.shutdown(1)
            peer.until(lambda: peer.closed, "the end of the connection")
    suite.check("a client that stops writing is closed", input_ended,
                on=[target for target in suite.targets if not target.port])


def limit(suite):
    def crowd(target):
        with target.peer() as peer:
            most = peer.announced.get(MAX_STREAMS, 1000)
            last = 2 * most + 1
            peer.send(b"".join(peer.headers(number) for number in range(1, last, 2)))
            assert peer.ping(), f"{most} streams were too many: {peer.describe()}"
            over = [number for number in range(1, last, 2) if peer.stream(number).over]
            assert not over, f"{len(over)} of {most} streams ended, first {over[0]}"
            peer.send(peer.headers(last))
            judge(peer, reset(REFUSED_STREAM, stream=last))
            over = [number for number in range(1, last, 2) if peer.stream(number).over]
            assert not over, f"with the one above the limit {len(over)} others ended"
            # One ends, and there is room for another.
            peer.send(data(1, message(), end=True))
            judge(peer, served(1))
            peer.send(peer.request(last + 2))
            judge(peer, served(last + 2))
            peer.send(b"".join(rst_stream(number) for number in range(3, last, 2)))
            peer.send(peer.request(last + 4))
            judge(peer, served(last + 4))
    suite.check("1,001 streams: the last one is refused and the others stay", crowd)

    def watches(target):
        with target.peer() as peer:
            peer.wide()
            for start in range(1, 2003, 200):
                peer.send(b"".join(
                    peer.request(number, target.watch) for number in range(start, start + 200, 2)
                    if number < 2003))
                peer.poll()
            peer.until(lambda: all(
                peer.stream(number).over or len(peer.stream(number).body) > 5
                for number in range(1, 2003, 2)), "an answer on 1,001 streams", timeout=60)
            got = [number for number in range(1, 2003, 2) if len(peer.stream(number).body) > 5]
            assert len(got) == 1000, f"{len(got)} of 1,001 streams got a message"
            assert peer.stream(2001).reset == REFUSED_STREAM, peer.stream(2001).describe()
    suite.check("1,001 calls that stay open: 1,000 are served, one is refused", watches,
                on=[suite.workload_api])

    def both(target):
        """What is refused costs nothing: many at a time above the limit."""
        with target.peer() as peer:
            most = peer.announced.get(MAX_STREAMS, 1000)
            peer.send(b"".join(peer.headers(number) for number in range(1, 2 * most + 1, 2)))
            numbers = range(2 * most + 1, 2 * most + 401, 2)
            peer.send(b"".join(peer.request(number) for number in numbers))
            peer.until(lambda: all(peer.stream(number).over for number in numbers),
                       "the end of 200 refused streams")
            if peer.closed:
                assert peer.goaway and peer.goaway[1] in (NO_ERROR, ENHANCE_YOUR_CALM), peer.describe()
                return
            refused = [number for number in numbers if peer.stream(number).reset == REFUSED_STREAM]
            assert len(refused) == len(numbers), f"{len(refused)} of {len(numbers)} refused"
            peer.send(data(1, message(), end=True))
            judge(peer, any_of(served(1), failed(1), status(8)))
    suite.check("200 streams above the limit are all refused", both)
