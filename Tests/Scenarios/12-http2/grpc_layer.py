"""gRPC on top of HTTP/2: what is no call, what is no message, and who does not say who it is."""
from frames import CANCEL, NO_ERROR, PROTOCOL_ERROR, data, message, replaced, rst_stream, without
from judge import any_of, failed, http, judge, open_still, reset, served, status
from targets import FETCH, VALIDATE, validate

UNIMPLEMENTED, INTERNAL, EXHAUSTED, INVALID = 12, 13, 8, 3


def run(suite):
    requests(suite)
    messages(suite)
    pieces(suite)
    security_header(suite)
    sizes(suite)


def trailers_only(peer, number=1):
    stream = peer.stream(number)
    assert len(stream.headers) == 1 and not stream.body, f"not trailers alone: {stream.describe()}"
    assert stream.http == 200, stream.describe()
    assert (stream.field("content-type") or "").startswith("application/grpc"), stream.headers


def requests(suite):
    def altered(change):
        return lambda peer: peer.request(1, fields=change(peer.target.fields()))

    def path(text):
        def attack(target):
            with target.peer() as peer:
                peer.send(peer.request(1, fields=replaced(target.fields(), ":path", text)))
                judge(peer, status(UNIMPLEMENTED))
                trailers_only(peer)
        return attack

    for text in ("/no.such.Service/Method", "/grpc.health.v1.Health/NoSuchMethod", "/a/b/c", "/a", "/",
                 "//", "/SpiffeWorkloadAPI/", "/SpiffeWorkloadAPI/fetchX509SVID", "/%2e%2e/x",
                 "/grpc.health.v1.Health/Check/", "/grpc.health.v1.Health/Check?x=y"):
        suite.check(f"method {text} is unknown: UNIMPLEMENTED in trailers alone", path(text))
    suite.case("a path without a slash",
               altered(lambda fields: replaced(fields, ":path", "grpc.health.v1.Health/Check")),
               any_of(status(UNIMPLEMENTED), http(400, 404), reset(PROTOCOL_ERROR)))
    suite.case("path * with OPTIONS", altered(lambda fields: [
        (":method", "OPTIONS"), (":path", "*")] + without(fields, ":method", ":path")),
        any_of(http(400, 404, 405), reset(PROTOCOL_ERROR)))
    for method in ("GET", "PUT", "HEAD", "DELETE", "post", "BREW"):
        suite.case(f"method {method} is no gRPC", altered(
            lambda fields, method=method: replaced(fields, ":method", method)),
            any_of(http(405), reset(PROTOCOL_ERROR)))
    for kind in ("text/html", "application/json", "application/grp", "application/grpcfoo", ""):
        suite.case(f"content-type {kind or 'without a value'} is no gRPC", altered(
            lambda fields, kind=kind: replaced(fields, "content-type", kind)), http(415))
    suite.case("no content-type is no gRPC",
               altered(lambda fields: without(fields, "content-type")), http(415))
    suite.case("application/grpc+proto is served", altered(
        lambda fields: replaced(fields, "content-type", "application/grpc+proto")), served())

    def early(target):
        """The answer comes while the request goes on; what follows is ignored."""
        with target.peer() as peer:
            peer.send(peer.headers(1, replaced(target.fields(), "content-type", "text/html")))
            peer.until(lambda: peer.stream(1).over, "an answer")
            assert peer.stream(1).http == 415, peer.describe()
            peer.send(data(1, b"x" * 5000), data(1, b"y", end=True), peer.request(3))
            judge(peer, served(3))
    suite.check("415 before the request is complete, and the rest of it ignored", early)

    def timeout(text, verdict):
        def attack(target):
            for path in (None, VALIDATE) if target.watch else (None,):
                with target.peer() as peer:
                    peer.send(peer.headers(1, target.fields(path, ("grpc-timeout", text))),
                              data(1, message(), True))
                    judge(peer, verdict)
        return attack
    for text in ("1n", "99999999H", "99999999M", "99999999S", "1S"):
        suite.check(f"grpc-timeout {text}: an answer or DEADLINE_EXCEEDED",
                    timeout(text, status(0, INVALID, 4)))
    # Alone: grpc-swift's parser took a number below zero and ended the program.
    for text in ("-1S", "-99999999H", "-0n", "+1S", "", "S", "1", "999999999S", "9223372036854775808S",
                 "1x", "0x10S", "1 S", "1.5S", "\u0661S"):
        suite.check_alone(f"grpc-timeout {text!r}: an answer or a refusal", timeout(
            text, any_of(status(0, INVALID, 4, INTERNAL), http(400), reset(PROTOCOL_ERROR))),
            on=[suite.workload_api, suite.targets[2]])
    suite.case("binary metadata that is no base64: an answer or a refusal",
               altered(lambda fields: fields + [("x-bin", "?!*")]),
               any_of(status(0, INVALID, INTERNAL), reset(PROTOCOL_ERROR)))

    def waits(target):
        """A deadline ends a call whose request never comes."""
        with target.peer() as peer:
            peer.send(peer.headers(1, target.fields(VALIDATE, ("grpc-timeout", "200m"))))
            peer.send(peer.headers(3, target.fields(FETCH, ("grpc-timeout", "200m"))),
                      data(3, message(), True))
            for number in (1, 3):
                stream = peer.finish(number)
                assert stream.status == 4 or stream.reset == CANCEL, peer.describe()
            peer.send(peer.request(5))
            judge(peer, served(5))
    suite.check("a deadline ends a call whose request never comes, and one that stays open", waits,
                on=[suite.workload_api])


def messages(suite):
    def body(raw, end=True, *more):
        return lambda peer: peer.headers(1, peer.target.fields(None, *more)) + data(1, raw, end)

    framing = any_of(status(UNIMPLEMENTED, INTERNAL, INVALID), reset(PROTOCOL_ERROR))
    suite.table([
        ("a compressed message in an encoding nobody knows",
         body(message(b"x", flag=1), True, ("grpc-encoding", "zzz")), status(UNIMPLEMENTED)),
        ("a gzip message", body(message(b"\x1f\x8b\x08" + bytes(20), flag=1), True,
                                ("grpc-encoding", "gzip")), status(UNIMPLEMENTED)),
        ("a compressed message without an encoding", body(message(b"x", flag=1)),
         status(UNIMPLEMENTED, INTERNAL)),
        ("a message with flag 2", body(message(flag=2)), framing),
        ("a message with flag 255", body(message(flag=255)), framing),
        ("the end within the prefix", body(b"\0\0\0"), framing),
        ("the end within a message", body(message(bytes(100))[:50]), framing),
        ("a byte after the message", body(message() + b"\0"), framing),
        ("no message", lambda peer: peer.headers(1, end=True), framing),
        ("no message, in an empty DATA frame", body(b""), framing),
        ("two messages in a unary call", body(message() * 2), framing),
        ("two messages in a unary call, in two frames", lambda peer: peer.headers(1)
         + data(1, message()) + data(1, message(), True), framing),
        ("a thousand messages in a unary call", body(message() * 1000), framing),
        ("a message that is no protobuf", body(message(b"\xff" * 20)), status(INVALID, INTERNAL)),
        ("a field cut short", body(message(b"\x0a\x7fabc")), status(INVALID, INTERNAL)),
        ("groups in groups in groups", body(message(b"\x7b" * 10_000)), status(INVALID, INTERNAL)),
    ])
    on = [suite.workload_api]
    suite.case("two messages in a call that answers with a stream", lambda peer: peer.headers(
        1, peer.target.fields(FETCH)) + data(1, message() * 2, True), framing, on=on)
    suite.case("no message in a call that answers with a stream",
               lambda peer: peer.headers(1, peer.target.fields(FETCH), end=True), framing, on=on)

    def half(target):
        """A client that ends in the middle of a message, in each way there is."""
        for ending in ("close", "abort", "rst"):
            for raw in (b"\0", b"\0\0\0\0", message(bytes(1000))[:500]):
                with target.peer() as peer:
                    peer.send(peer.headers(1), data(1, raw))
                    if ending == "rst":
                        peer.send(rst_stream(1, CANCEL), peer.request(3))
                        judge(peer, served(3))
                    elif ending == "abort":
                        peer.reset_connection()
    suite.check("half a message, then the end of the call or the connection", half)

    def withheld(target):
        """A hundred calls that never end cost their client, not the others."""
        with target.peer() as peer:
            numbers = range(1, 201, 2)
            peer.send(b"".join(
                peer.headers(number) + data(number, message(bytes(1000))[:7]) for number in numbers))
            peer.send(peer.request(201))
            judge(peer, served(201))
            judge(peer, open_still(*numbers))
    suite.check("a hundred requests that stop half-way hold up nobody", withheld)


def pieces(suite):
    def bytewise(peer):
        body = message(b"") if not peer.target.watch else message(validate(40))
        path = None if not peer.target.watch else VALIDATE
        return peer.headers(1, peer.target.fields(path)) + b"".join(
            data(1, bytes([byte]), end=number == len(body) - 1) for number, byte in enumerate(body))
    suite.case("a request in DATA frames of one byte", bytewise, status(0, INVALID))
    suite.case("END_STREAM in an empty DATA frame of its own",
               lambda peer: peer.headers(1) + data(1, message()) + data(1, end=True), served())
    suite.case("empty DATA frames before, within and after a message", lambda peer: peer.headers(1)
               + data(1) * 3 + data(1, b"\0\0") + data(1) * 3 + data(1, b"\0\0\0") + data(1) * 3
               + data(1, end=True), served())

    def slow(target):
        """A byte, a question, a byte: the answer comes after the last one."""
        with target.peer() as peer:
            peer.send(peer.headers(1))
            for byte in message():
                assert not peer.stream(1).over, peer.describe()
                peer.send(data(1, bytes([byte])))
                target.serve("a part of a message")
            peer.send(data(1, end=True))
            judge(peer, served())
    suite.check("a request that comes byte by byte while others are served", slow)

    def interleaved(target):
        with target.peer() as peer:
            numbers = range(1, 101, 2)
            peer.send(b"".join(peer.headers(number) for number in numbers))
            for byte in message():
                peer.send(b"".join(data(number, bytes([byte])) for number in reversed(numbers)))
            peer.send(b"".join(data(number, end=True) for number in numbers))
            for number in numbers:
                assert peer.finish(number).status == 0, peer.stream(number).describe()
    suite.check("fifty requests interleaved byte by byte", interleaved)

    def shape(target):
        """What an answer looks like, and that nothing follows it."""
        with target.peer() as peer:
            peer.send(peer.request(1))
            judge(peer, served())
            stream = peer.stream(1)
            assert stream.http == 200 and len(stream.headers) == 2, stream.headers
            assert stream.field("content-type").startswith("application/grpc"), stream.headers
            assert stream.body[0] == 0 and len(stream.body) == 5 + int.from_bytes(
                stream.body[1:5], "big"), stream.body[:5]
            names = [name for fields in stream.headers for name, _ in fields]
            assert all(name == name.lower() for name in names), names
            assert stream.reset in (None, NO_ERROR), stream.describe()
    suite.check("an answer is header fields, one message, trailers", shape)


def security_header(suite):
    """WEP-06, by bytes that no gRPC library would send."""
    on = [suite.workload_api]
    name = "workload.spiffe.io"

    def refused(change, verdict=status(INVALID), path=FETCH):
        def attack(target):
            with target.peer() as peer:
                peer.send(peer.headers(1, change(target.fields(path))), data(1, message(), True))
                judge(peer, verdict)
                if peer.stream(1).status == INVALID:
                    trailers_only(peer)
                    assert "security header" in (peer.stream(1).field("grpc-message") or ""), (
                        peer.stream(1).headers)
        return attack

    suite.check("no security header", refused(lambda fields: without(fields, name)), on=on)
    suite.check("the security header twice",
                refused(lambda fields: fields + [(name, "true")]), on=on)
    for value in ("", "TRUE", "True", "true ", "true,true", "1", "false"):
        suite.check(f"security header {value!r}", refused(
            lambda fields, value=value: replaced(fields, name, value),
            any_of(status(INVALID), reset(PROTOCOL_ERROR))), on=on)
    suite.check("the security header in upper case", refused(
        lambda fields: without(fields, name) + [("Workload.Spiffe.io", "true")],
        reset(PROTOCOL_ERROR)), on=on)
    suite.check("the security header in trailers", refused_in_trailers, on=on)
    suite.check("no security header on a unary call", refused(
        lambda fields: without(fields, name), path=VALIDATE), on=on)

    def nothing(target):
        for path in (FETCH, VALIDATE):
            with target.peer() as peer:
                peer.send(peer.headers(1, without(target.fields(path), name), end=True))
                judge(peer, status(INVALID))
    suite.check("no security header and no message", nothing, on=on)


def refused_in_trailers(target):
    with target.peer() as peer:
        peer.send(peer.headers(1, without(target.fields(FETCH), "workload.spiffe.io")),
                  data(1, message()))
        peer.send(peer.headers(1, [("workload.spiffe.io", "true")], end=True))
        judge(peer, any_of(status(INVALID), reset(PROTOCOL_ERROR)))


def sizes(suite):
    def announced(length):
        """The prefix alone: the refusal does not wait for the message."""
        def attack(target):
            with target.peer() as peer:
                peer.send(peer.headers(1), data(1, b"\0" + length(target).to_bytes(4, "big") + b"x"))
                judge(peer, status(EXHAUSTED))
                peer.send(peer.request(3))
                judge(peer, served(3))
        return attack
    suite.check("a message of 4 GiB announced: RESOURCE_EXHAUSTED at once",
                announced(lambda target: 2**32 - 1))
    suite.check("a message one byte above the limit announced: RESOURCE_EXHAUSTED at once",
                announced(lambda target: target.limit + 1))

    def largest(target):
        with target.peer() as peer:
            peer.send(peer.headers(1, target.fields(VALIDATE)))
            peer.send_data(1, message(validate(target.limit)), end=True)
            judge(peer, status(INVALID))
            peer.send(peer.headers(3, target.fields(VALIDATE)))
            peer.send_data(3, message(validate(target.limit + 1)), end=True)
            judge(peer, any_of(status(EXHAUSTED, stream=3)))
    suite.check("64 KiB are read, a byte more is RESOURCE_EXHAUSTED", largest, on=[suite.workload_api])
    suite.case("an error does not end the connection", lambda peer: b"".join(
        peer.request(number, "/no/Method") for number in range(1, 101, 2)) + peer.request(101),
        any_of(served(101), failed(101)))
