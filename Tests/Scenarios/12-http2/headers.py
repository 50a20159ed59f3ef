"""Header blocks: HPACK that does not decode, HPACK that decodes to far too much, and fields that a request
may not have."""
import hpack
from frames import (
    COMPRESSION_ERROR, CONTINUATION, END_HEADERS, ENHANCE_YOUR_CALM, HEADERS,
    PREFACE, PROTOCOL_ERROR, REFUSED_STREAM, STREAM_CLOSED, TABLE_SIZE, block, data, frame, integer,
    literal, message, replaced, rst_stream, settings, without)
from judge import any_of, goaway, http, judge, reset, served, status, unharmed

compression = goaway(COMPRESSION_ERROR)
malformed = any_of(reset(PROTOCOL_ERROR), http(400))
# RFC 9113, 10.5.1: a block above the announced size may be answered in several ways, but not with OK.
too_much = any_of(
    reset(PROTOCOL_ERROR, ENHANCE_YOUR_CALM, REFUSED_STREAM), http(431), status(8),
    goaway(PROTOCOL_ERROR, ENHANCE_YOUR_CALM, COMPRESSION_ERROR))


def run(suite):
    undecodable(suite)
    table(suite)
    large(suite)
    fields(suite)
    trailers(suite)


def undecodable(suite):
    def with_block(raw):
        return lambda peer: peer.headers(1, raw=raw)

    def after_good(raw):
        return lambda peer: peer.headers(1, raw=block(peer.target.fields()) + raw)

    endless = b"\xff" * 20
    cases = {
        "index 0": b"\x80",
        "an index beyond both tables": b"\xbe",
        "an index far beyond both tables": integer(100_000, 7, 0x80),
        "a name index beyond both tables": integer(70, 4) + b"\x01x",
        "an integer of 20 bytes as index": endless + b"\x7f",
        "an integer that never ends": b"\xff" + b"\x80" * 200,
        "an integer just above 64 bits": b"\xff" + b"\xff" * 9 + b"\x02",
        "an integer cut short": b"\xff\x80",
        "an index integer without its rest": b"\xff",
        "a name longer than the block": b"\x00\x7fabc",
        "a value longer than the block": b"\x00\x01x\x7fabc",
        "a string length of 20 bytes": b"\x00\x7f" + b"\xff" * 19 + b"\x7fx",
        "a literal without anything": b"\x00",
        "a literal without a value": b"\x00\x01x",
        "Huffman: nothing but padding of 8 bits": b"\x00\x01x\x81\xff",
        "Huffman: padding of zeros": b"\x00\x01x\x81\x18",
        "Huffman: the end symbol inside": b"\x00\x01x\x84\xff\xff\xff\xff",
        "Huffman: a code cut short": b"\x00\x01x\x82\xff\xf8",
        "a table size after the first field": b"\x20",
    }
    for what, raw in cases.items():
        suite.case(f"HPACK: {what}", after_good(raw), compression)
    suite.case("HPACK: only junk", with_block(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"),
               compression)
    suite.case("HPACK: an error in the second piece of a block", lambda peer: frame(
        HEADERS, 0, 1, peer.headers(1)[9:]) + frame(CONTINUATION, END_HEADERS, 1, b"\x80"), compression)
    suite.case("HPACK: an error in trailers",
               lambda peer: peer.headers(1) + frame(HEADERS, 5, 1, b"\x80"), compression)
    suite.case("HPACK: an error on a stream that was reset",
               lambda peer: peer.headers(1) + rst_stream(1) + frame(HEADERS, 5, 1, b"\x80"),
               goaway(COMPRESSION_ERROR, PROTOCOL_ERROR, STREAM_CLOSED))
    suite.case("an empty header block", lambda peer: frame(HEADERS, 5, 1), malformed)


def table(suite):
    """The dynamic table: 4,096 bytes until the announced size is acknowledged, then that size."""
    def grow(peer):
        return frame(HEADERS, 4, 1, integer(peer.announced.get(TABLE_SIZE, 4096) + 1, 5, 0x20)
                     + block(peer.target.fields()))
    suite.case("HPACK: a table size above the announced one", grow, compression)
    suite.case("HPACK: a table size of 2^32", lambda peer: frame(
        HEADERS, 4, 1, integer(2**32, 5, 0x20) + block(peer.target.fields())), compression)

    def early(target, size, verdict):
        """Before our acknowledgement the default of 4,096 bytes holds."""
        with target.silent_peer() as peer:
            peer.acknowledges = False
            peer.send(PREFACE, settings())
            peer.until(lambda: peer.settings_seen, "SETTINGS")
            peer.send(frame(HEADERS, 4, 1, integer(size, 5, 0x20) + block(target.fields())))
            peer.send(data(1, message(), end=True))
            judge(peer, verdict)
    suite.check("HPACK: 4,096 bytes of table before the acknowledgement are served",
                lambda target: early(target, 4096, served()))
    suite.check("HPACK: 4,097 bytes of table before the acknowledgement",
                lambda target: early(target, 4097, compression))

    def reuse(target):
        with target.silent_peer() as peer:
            peer.acknowledges = False
            peer.send(PREFACE, settings())
            encoder = hpack.Encoder()
            for number in range(1, 21, 2):
                fields = target.fields(None, ("x-count", str(number)), ("x-same", "y" * 300))
                peer.send(peer.headers(number, raw=encoder.encode(fields)),
                          data(number, message(), end=True))
                judge_quietly(peer, number)
    suite.check("HPACK: the table and Huffman codes of a stock encoder are served", reuse)

    def small_table(target):
        """As stock clients do it: acknowledge, then encode with the announced size."""
        with target.peer() as peer:
            encoder = hpack.Encoder()
            encoder.header_table_size = min(4096, peer.announced.get(TABLE_SIZE, 4096))
            peer._owes_update = False
            for number in range(1, 21, 2):
                peer.send(peer.headers(number, raw=encoder.encode(target.fields())),
                          data(number, message(), end=True))
                judge_quietly(peer, number)
    suite.check("HPACK: an encoder that keeps to the announced table size is served", small_table)

    def vanished(target):
        with target.peer() as peer:
            peer._owes_update = False
            peer.send(frame(HEADERS, 5, 1, b"\x20" + literal("x-a", "b", 0x40) + b"\xbe"))
            judge(peer, compression)
    suite.check("HPACK: an entry that a table of size 0 cannot hold", vanished)

    suite.case("HPACK: fields that may never enter a table are served", lambda peer: peer.headers(
        1, raw=block(peer.target.fields()) + literal("x-secret", "s", 0x10)) + data(1, message(), True),
        served())
    suite.case("HPACK: field references that were refused do not confuse the next request",
               lambda peer: peer.headers(1, raw=literal("x-a", "b", 0x40)) + peer.request(3), served(3))


def judge_quietly(peer, number):
    """Without a PING: too many of them are held against a client."""
    stream = peer.finish(number)
    assert stream.status == 0, peer.describe()


def large(suite):
    def split(peer, raw, end=True):
        """A block of any size as HEADERS and CONTINUATION."""
        whole = block(peer.target.fields()) + raw
        if peer._owes_update:
            whole, peer._owes_update = b"\x20" + whole, False
        peer.stream(1)
        parts = [whole[start:start + 16_384] for start in range(0, len(whole), 16_384)]
        return b"".join(
            frame(CONTINUATION if number else HEADERS, 4 if number == len(parts) - 1 else 0, 1, part)
            for number, part in enumerate(parts)) + (data(1, message(), True) if end else b"")

    suite.table([
        ("a header list of 12 KiB is served",
         lambda peer: split(peer, literal("x-long", "v" * 12_000)), served()),
        ("a header list of 17 KiB in one field",
         lambda peer: split(peer, literal("x-long", "v" * 17_000)), too_much),
        ("a header list of 64 KiB", lambda peer: split(peer, literal("x-long", "v" * 30_000) * 2),
         too_much),
        ("a header name of 17 KiB", lambda peer: split(peer, literal("x" * 17_000, "v")), too_much),
        ("1,000 fields of two letters", lambda peer: split(peer, literal("x", "y") * 1000), too_much),
    ])

    def long_path(peer):
        fields = replaced(peer.target.fields(), ":path", "/" + "p" * 16_200)
        return frame(HEADERS, 0, 1, block(fields)) + frame(
            CONTINUATION, 4, 1, literal("x", "y" * 1000)) + data(1, message(), True)
    suite.case("a path of 16 KB and more", long_path, too_much)

    def referenced(target):
        """A large entry of the dynamic table, then a reference to it in every byte: some 60 MB."""
        with target.silent_peer() as peer:
            peer.acknowledges = False
            peer.send(PREFACE, settings())
            whole = block(target.fields()) + literal("x-bomb", "b" * 4000, 0x40) + b"\xbe" * 12_000
            peer.stream(1)
            peer.send(frame(HEADERS, 5, 1, whole))
            judge(peer, too_much)
    suite.check("an HPACK bomb: one byte for each copy of a large field", referenced)

    def after(target):
        with target.peer() as peer:
            peer.send(split(peer, literal("x-long", "v" * 17_000)))
            judge(peer, too_much)
            if not peer.closed:
                peer.send(peer.request(3))
                judge(peer, served(3))
    suite.check("a connection whose request was too large is in order, or closed", after)


def fields(suite):
    def altered(change):
        return lambda peer: peer.request(1, fields=change(peer.target.fields()))

    def added(name, value="v"):
        return altered(lambda fields: fields + [(name, value)])

    def first(name, value="v"):
        return altered(lambda fields: [(name, value)] + fields)

    cases = [(f"without {name}", altered(lambda fields, name=name: without(fields, name)))
             for name in (":method", ":scheme", ":path")]
    cases += [(f"{name} twice", altered(lambda fields, name=name: [
        field for field in fields if field[0] == name] + fields))
        for name in (":method", ":scheme", ":path", ":authority")]
    cases += [
        ("an empty :path", altered(lambda fields: replaced(fields, ":path", ""))),
        ("a pseudo header after a regular one",
         altered(lambda fields: without(fields, ":path") + [(":path", dict(fields)[":path"])])),
        ("a pseudo header nobody knows", first(":protocol-of-mine")),
        ("the pseudo header of an answer", first(":status", "200")),
        ("a pseudo header without a name", first(":")),
        ("a name in upper case", added("X-Upper")),
        ("an upper case letter at the end of a name", added("x-uppeR")),
        ("a name with a space", added("x y")),
        ("a name with a zero byte", added("x\0y")),
        ("a name with a line end", added("x\ny")),
        ("a name with a colon", added("x:y")),
        ("a name with a byte above 127", added(b"x\xff")),
        ("a value with a zero byte", added("x", "a\0b")),
        ("a value with a line end", added("x", "a\r\nb: c")),
        ("a value with a line feed", added("x", "a\nb")),
        ("connection: close", added("connection", "close")),
        ("connection: te", added("connection", "te")),
        ("keep-alive", added("keep-alive", "timeout=5")),
        ("proxy-connection", added("proxy-connection", "keep-alive")),
        ("transfer-encoding: chunked", added("transfer-encoding", "chunked")),
        ("upgrade", added("upgrade", "h2c")),
        ("te: gzip", altered(lambda fields: replaced(fields, "te", "gzip"))),
        ("te: trailers, gzip", altered(lambda fields: replaced(fields, "te", "trailers, gzip"))),
        ("content-length below the body", added("content-length", "4")),
        ("content-length above the body", added("content-length", "6")),
        ("content-length that is no number", added("content-length", "five")),
        ("a negative content-length", added("content-length", "-5")),
        ("a content-length of 30 digits", added("content-length", "9" * 30)),
        ("two content-lengths that differ",
         altered(lambda fields: fields + [("content-length", "5"), ("content-length", "6")])),
    ]
    suite.table([(f"a request with {what}" if not what.startswith("without") else f"a request {what}",
                  attack, malformed) for what, attack in cases])
    suite.table([
        ("a content-length that is right is served", added("content-length", "5"), served()),
        ("a request without :authority is served",
         altered(lambda fields: without(fields, ":authority")), served()),
        ("a request with fields nobody knows is served",
         altered(lambda fields: fields + [("x-one", ""), ("x-two", b"\x80\xff"),
                                          ("user-agent", "scenario")]), served()),
        # Decoders may take it for an error of HPACK.
        ("a request with an empty name", added("", "v"),
         any_of(malformed, goaway(PROTOCOL_ERROR, COMPRESSION_ERROR))),
        ("a value with blanks around it is served or refused", added("x", " v "),
         any_of(served(), malformed)),
        ("CONNECT is not served", altered(lambda fields: [(":method", "CONNECT"), (":authority", "x:1")]),
         any_of(malformed, http(405, 501), status(12))),
        ("a body above its content-length is cut off at once", lambda peer: peer.headers(
            1, peer.target.fields(None, ("content-length", "3"))) + data(1, message()), malformed),
    ])


def trailers(suite):
    def closing(*fields, end=True):
        return lambda peer: peer.headers(1) + data(1, message()) + peer.headers(1, fields, end=end)

    suite.table([
        ("trailers with a pseudo header", closing((":path", "/x")), malformed),
        ("trailers with a name in upper case", closing(("X-Trailer", "x")), malformed),
        ("trailers with connection: close", closing(("connection", "close")), malformed),
        ("HEADERS in the middle of a body", closing(("x", "y"), end=False), malformed),
        # gRPC has no trailers in requests; HTTP/2 has.
        ("trailers of a request are served or refused", closing(("x-trailer", "x")),
         any_of(served(), reset(PROTOCOL_ERROR), status(3, 12, 13))),
        ("a request again on the same stream",
         lambda peer: peer.headers(1) + data(1, message()) + peer.headers(1, end=True), malformed),
    ])
    suite.case("a malformed request leaves the connection in use", lambda peer: b"".join(
        peer.request(number, fields=peer.target.fields(None, ("Bad", "x"))) for number in range(1, 21, 2))
        + peer.request(21), any_of(served(21), unharmed()))
