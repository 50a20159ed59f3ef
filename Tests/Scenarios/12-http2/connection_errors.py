"""Mistakes that concern the whole connection: GOAWAY with the right code, and the end."""
from frames import (
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR, GOAWAY, HEADERS, MAX_FRAME, MAX_WINDOW, PADDED, PING, PRIORITY, PROTOCOL_ERROR,
    PUSH_PROMISE, RST_STREAM, SETTINGS, STREAM_CLOSED, WINDOW_UPDATE, WITH_PRIORITY, block, data, frame,
    priority, rst_stream, settings, window_update)
from frames import goaway as goaway_frame
from judge import any_of, goaway, judge, reset, served, unharmed

protocol = goaway(PROTOCOL_ERROR)
size = goaway(FRAME_SIZE_ERROR)


def run(suite):
    streams(suite)
    sizes(suite)
    blocks(suite)
    suite.table([
        ("WINDOW_UPDATE of 0 on the connection", window_update(0, 0), protocol),
        ("WINDOW_UPDATE that overflows the connection's window", window_update(0, MAX_WINDOW),
         goaway(FLOW_CONTROL_ERROR)),
        ("WINDOW_UPDATE that overflows it in two steps",
         window_update(0, MAX_WINDOW - 65_535) + window_update(0, 1), goaway(FLOW_CONTROL_ERROR)),
        ("PING with flags nobody knows is answered", frame(PING, 0xFE, 0, bytes(8)), unharmed()),
        ("an answer to a PING that nobody sent", frame(PING, ACK, 0, bytes(8)), unharmed()),
        ("unknown types of frames are ignored", lambda peer: b"".join(
            frame(kind, 0xFF, stream, b"?" * 50)
            for kind in (0x0A, 0x0C, 0x10, 0xEE, 0xFF) for stream in (0, 1, 2, 2**31 - 1))
         + peer.request(1), served()),
    ])

    def pong(target):
        with target.peer() as peer:
            payload = bytes(range(0xF8, 0x100))
            peer.send(frame(PING, 0, 0, payload))
            peer.until(lambda: peer.pongs, "an answer to PING")
            assert peer.pongs == [payload], peer.pongs
    suite.check("PING is answered with the same content", pong)

    def leaving(target):
        with target.peer() as first, target.peer() as second:
            first.send(first.request(1), goaway_frame(0, 0, b"done"))
            second.send(second.request(1))
            judge(second, served())
            assert first.finish(1).status == 0, first.describe()
            # It may go on or close, but it has to stay calm.
            first.send(first.request(3))
            first.within(lambda: first.stream(3).over, 1.0)
            second.send(second.request(3))
            judge(second, served(3))
    suite.check("GOAWAY from a client: its open call ends well, others go on", leaving)

    def angry(target):
        with target.peer() as first, target.peer() as second:
            first.send(goaway_frame(MAX_WINDOW, 0xFFFFFFFF, b"\xff" * 16_000))
            first.send(goaway_frame(0, PROTOCOL_ERROR), goaway_frame(MAX_WINDOW, 0))
            second.send(second.request(1))
            judge(second, served())
    suite.check("GOAWAY with errors and 16 kB of debug data harms nobody", angry)


def streams(suite):
    """Frames where they may not be, and stream numbers."""
    def opened(*after):
        """A request that is still open on stream 1, then this."""
        return lambda peer: peer.headers(1) + b"".join(after)

    def then(*numbers):
        return lambda peer: b"".join(peer.headers(number) for number in numbers)

    suite.table([
        ("DATA on stream 0", data(0, b"x"), protocol),
        ("HEADERS on stream 0", lambda peer: peer.headers(0), protocol),
        ("PRIORITY on stream 0", priority(0), protocol),
        ("RST_STREAM on stream 0", rst_stream(0), protocol),
        ("CONTINUATION on stream 0", frame(CONTINUATION, END_HEADERS, 0, b"\x83"), protocol),
        ("PING on a stream", frame(PING, 0, 1, bytes(8)), protocol),
        ("GOAWAY on a stream", goaway_frame(stream=1), protocol),
        ("PUSH_PROMISE from a client",
         opened(frame(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\2\x83")), protocol),
        ("PUSH_PROMISE on stream 0", frame(PUSH_PROMISE, END_HEADERS, 0, b"\0\0\0\2\x83"), protocol),
        ("HEADERS on an even stream", then(2), protocol),
        ("a stream number that decreases", then(5, 3), goaway(PROTOCOL_ERROR, STREAM_CLOSED)),
        ("a stream number just below the last one", then(2**31 - 1, 2**31 - 3),
         goaway(PROTOCOL_ERROR, STREAM_CLOSED)),
        ("DATA on an idle stream", data(1, b"x"), goaway(PROTOCOL_ERROR, STREAM_CLOSED)),
        ("DATA on an idle stream of the server", data(2, b"x"), goaway(PROTOCOL_ERROR, STREAM_CLOSED)),
        ("RST_STREAM on an idle stream", rst_stream(1), protocol),
        ("RST_STREAM on an idle stream above an open one", opened(rst_stream(3)), protocol),
        ("WINDOW_UPDATE on an idle stream", window_update(1, 1), protocol),
        ("WINDOW_UPDATE on an idle stream of the server", window_update(2, 1), protocol),
        ("PRIORITY on an idle stream is ignored",
         lambda peer: priority(7) + priority(2) + peer.request(1), served()),
        ("the largest stream number is served", lambda peer: peer.request(2**31 - 1),
         served(2**31 - 1)),
        ("the reserved bit of a stream number is ignored", lambda peer: b"".join(
            part[:5] + bytes([part[5] | 0x80]) + part[6:]
            for part in (peer.headers(1), data(1, bytes(5), True))),
         served()),
    ])


def sizes(suite):
    def opened(*after):
        return lambda peer: peer.headers(1) + b"".join(after)

    def too_long(kind, stream, flags=0):
        """A frame one byte above what the server announced."""
        return lambda peer: (peer.headers(1) if stream and kind == DATA else b"") + frame(
            kind, flags, stream, bytes(peer.announced.get(MAX_FRAME, 16_384) + 1))

    cases = [(f"PING of {length} bytes", frame(PING, 0, 0, bytes(length)), size)
             for length in (0, 7, 9, 16)]
    cases += [(f"RST_STREAM of {length} bytes", opened(frame(RST_STREAM, 0, 1, bytes(length))), size)
              for length in (0, 3, 5)]
    cases += [(f"WINDOW_UPDATE of {length} bytes on stream {stream}",
               opened(frame(WINDOW_UPDATE, 0, stream, b"\1" * length)), size)
              for length in (0, 3, 5) for stream in (0, 1)]
    cases += [(f"GOAWAY of {length} bytes", frame(GOAWAY, 0, 0, bytes(length)), size)
              for length in (0, 7)]
    cases += [(f"PRIORITY of {length} bytes", opened(frame(PRIORITY, 0, 1, bytes(length))),
               any_of(reset(FRAME_SIZE_ERROR), size)) for length in (0, 4, 6)]
    cases += [
        ("DATA longer than announced", too_long(DATA, 1), any_of(reset(FRAME_SIZE_ERROR), size)),
        ("HEADERS longer than announced", too_long(HEADERS, 1, END_HEADERS), size),
        ("SETTINGS longer than announced", lambda peer: frame(
            SETTINGS, 0, 0, bytes(peer.announced.get(MAX_FRAME, 16_384) // 6 * 6 + 6)), size),
        ("16 MiB of PING announced", b"\xff\xff\xff\x06\x00\x00\x00\x00\x00" + bytes(8), size),
        ("16 MiB of HEADERS announced", b"\xff\xff\xff\x01\x04\x00\x00\x00\x01" + bytes(8), size),
        ("16 MiB of an unknown frame announced", b"\xff\xff\xff\xee\x00\x00\x00\x00\x00" + bytes(8),
         size),
        ("DATA with padding as long as the frame", opened(frame(DATA, PADDED, 1, b"\x06abcde")), protocol),
        ("DATA with padding beyond the frame", opened(frame(DATA, PADDED, 1, b"\xffabc")), protocol),
        ("DATA with padding announced and no room for its length", opened(frame(DATA, PADDED, 1)),
         goaway(FRAME_SIZE_ERROR, PROTOCOL_ERROR)),
        ("HEADERS with padding beyond the frame",
         frame(HEADERS, PADDED | END_HEADERS, 1, b"\xff\x83"), protocol),
        ("HEADERS with padding announced and no room for its length",
         frame(HEADERS, PADDED | END_HEADERS, 1), goaway(FRAME_SIZE_ERROR, PROTOCOL_ERROR)),
        ("HEADERS with a priority cut short", frame(HEADERS, WITH_PRIORITY | END_HEADERS, 1, b"\0\0\0"),
         goaway(FRAME_SIZE_ERROR, PROTOCOL_ERROR)),
        ("HEADERS whose padding runs into the priority",
         frame(HEADERS, PADDED | WITH_PRIORITY | END_HEADERS, 1, b"\x03" + bytes(5) + b"\0\0"),
         goaway(FRAME_SIZE_ERROR, PROTOCOL_ERROR)),
    ]
    suite.table(cases)

    def padded(peer):
        headers = peer.headers(1)[9:]
        return (frame(HEADERS, PADDED | END_HEADERS | WITH_PRIORITY, 1,
                      b"\x40" + b"\0\0\0\0\x0f" + headers + bytes(64))
                + frame(DATA, PADDED, 1, b"\x00")
                + frame(DATA, PADDED, 1, b"\xff" + b"\0\0" + bytes(255))
                + frame(DATA, PADDED | END_STREAM, 1, b"\x01" + b"\0\0\0" + bytes(1)))
    suite.case("padding and priority in their places are served", padded, served())


def blocks(suite):
    """Header blocks in several frames: nothing may come between them."""
    def interrupted(between):
        def attack(peer):
            whole = peer.headers(1)[9:]
            return frame(HEADERS, 0, 1, whole[:20]) + between + frame(
                CONTINUATION, END_HEADERS, 1, whole[20:])
        return attack

    suite.table([(f"a header block interrupted by {what}", interrupted(between), protocol)
                 for what, between in (
                     ("DATA", data(1, b"x")), ("HEADERS of another stream", frame(
                         HEADERS, END_HEADERS, 3, block([(":method", "POST")]))),
                     ("HEADERS of the same stream", frame(HEADERS, END_HEADERS, 1, b"\x83")),
                     ("CONTINUATION of another stream", frame(CONTINUATION, END_HEADERS, 3, b"\x83")),
                     ("PING", frame(PING, 0, 0, bytes(8))), ("SETTINGS", settings()),
                     ("PRIORITY", priority(1)), ("RST_STREAM", rst_stream(1)),
                     ("WINDOW_UPDATE", window_update(0, 1)), ("GOAWAY", goaway_frame()),
                     ("an unknown frame", frame(0xEE, 0, 0, b"x")))])
    suite.table([
        ("CONTINUATION without HEADERS", frame(CONTINUATION, END_HEADERS, 1, b"\x83"), protocol),
        ("CONTINUATION after a complete header block",
         lambda peer: peer.headers(1) + frame(CONTINUATION, END_HEADERS, 1, b"\x83"), protocol),
        ("CONTINUATION after DATA",
         lambda peer: peer.headers(1) + data(1) + frame(CONTINUATION, END_HEADERS, 1, b"\x83"),
         protocol),
    ])

    def split(peer, pieces):
        whole = peer.headers(1)[9:]
        step = -(-len(whole) // pieces)
        parts = [whole[start:start + step] for start in range(0, len(whole), step)] + [b""]
        return frame(HEADERS, 0, 1, b"") + b"".join(
            frame(CONTINUATION, END_HEADERS if number == len(parts) - 1 else 0, 1, part)
            for number, part in enumerate(parts)) + data(1, bytes(5), end=True)
    suite.case("a header block in four pieces, the first and last empty, is served",
               lambda peer: split(peer, 2), served())
    suite.case("a header block in a hundred pieces is served or refused as too much",
               lambda peer: split(peer, 100), any_of(served(), goaway(PROTOCOL_ERROR, ENHANCE_YOUR_CALM)))
