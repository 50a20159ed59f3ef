"""h2load and nghttp, of nghttp2."""
import os
import re
import shutil

from harness import Skip, protos, run
from relay import Relay

HEALTH = "/grpc.health.v1.Health/Check"
FETCH_JWT = "/SpiffeWorkloadAPI/FetchJWTSVID"
GET_BUNDLE = "/spire.api.server.bundle.v1.Bundle/GetBundle"
GRPC = ["-H", "content-type: application/grpc", "-H", "te: trailers"]
LONG = os.environ.get("CYGNET_LONG") == "1"
FACTOR = 10 if LONG else 1


def need(program):
    if not shutil.which(program):
        raise Skip("needs nghttp2-client")


def message(s, name, content):
    """A file with one gRPC message."""
    path = s.path("bodies", name)
    with open(path, "wb") as file:
        file.write(b"\x00" + len(content).to_bytes(4, "big") + content)
    return path


def h2load(url, body, count, clients, streams, *options):
    """Loads a unary call; returns the bytes of the answers."""
    text = run(["h2load", "-n", count, "-c", clients, "-m", streams, "-d", body, *GRPC, *options, url],
               timeout=120, check=True).stdout
    ends = re.search(r"^requests: .* (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", text, re.M)
    data = re.search(r"^traffic: .* \((\d+)\) data", text, re.M)
    assert ends and data, text[-800:]
    assert [int(number) for number in ends.groups()] == [count, 0, 0, 0], (
        f"{clients} clients, {streams} streams each: {ends.group(0)}")
    return int(data.group(1))


def load(s, server, agent):
    empty = message(s, "empty", b"")
    mixes = [(500, 1, 1), (1000, 10, 10), (2000, 4, 100), (300, 50, 1)]
    for name, path in (("the agent's socket", agent.socket), ("the admin socket", server.socket)):
        with s.check(f"h2load: {name} answers {len(mixes)} mixes of connections and streams"):
            need("h2load")
            for count, clients, streams in mixes:
                count *= FACTOR
                data = h2load(f"http://localhost{HEALTH}", empty, count, clients, streams, "-B", f"unix:{path}")
                # HTTP has only 200 to say; that all calls were SERVING shows in the size: five and two.
                assert data == 7 * count, f"{data} bytes in {count} answers ({clients}, {streams})"

    with s.check("h2load: tokens for 20 streams on each of 5 connections"):
        need("h2load")
        request = protos.messages(protos.WORKLOAD_API).JWTSVIDRequest(audience=["a"]).SerializeToString()
        url, words = f"http://localhost{FETCH_JWT}", ("-H", "workload.spiffe.io: true", "-B", f"unix:{agent.socket}")
        body = message(s, "jwt", request)
        one = h2load(url, body, 1, 1, 1, *words)
        assert one > 200, f"a token of {one} bytes"
        data = h2load(url, body, 300 * FACTOR, 5, 20, *words)
        assert abs(data - one * 300 * FACTOR) <= 300 * FACTOR * 4, f"{data} bytes, the first answer has {one}"

    with s.check("h2load: bundles over TLS"):
        need("h2load")
        url = f"https://127.0.0.1:{server.port}{GET_BUNDLE}"
        one = h2load(url, empty, 1, 1, 1)
        for count, clients, streams in ((200, 5, 20), (50, 10, 1)):
            assert h2load(url, empty, count, clients, streams) == one * count


def nghttp(s, server, agent):
    empty = message(s, "empty", b"")
    relays = {"the agent's socket": Relay(s, agent.socket), "the admin socket": Relay(s, server.socket)}
    bases = {name: f"http://127.0.0.1:{relay.port}" for name, relay in relays.items()}
    bases["the TLS port"] = f"https://127.0.0.1:{server.port}"

    def ask(url, *options):
        """What came back, frame by frame."""
        return run(["nghttp", "-v", "-t", "10", *options, url], timeout=30, check=True).stdout

    def field(text, name):
        return re.findall(rf"recv \(stream_id=\d+\) {name}: (.*)", text)

    for name, base in bases.items():
        with s.check(f"nghttp: {name} gives HTTP answers to what is not gRPC"):
            need("nghttp")
            for wanted, options in (("405", []), ("405", ["-H", ":method: PUT"]), ("415", ["-d", empty]),
                                    ("415", ["-d", empty, "-H", "content-type: application/json"])):
                text = ask(f"{base}/", *options)
                assert field(text, ":status") == [wanted], f"{options}: {text[-900:]}"

    # What nghttp can do differently from a gRPC library, all of it within the rules.
    manners = {
        "as it is": [], "padding": ["-b", "255"],
        "no header tables": ["--header-table-size=0", "--encoder-header-table-size=0"],
        "windows of three bytes": ["-w", "2"], "no PRIORITY": ["--no-dep"], "a weight": ["-p", "256"],
        "20 at a time": ["-m", "20"], "trailers": ["--trailer", "x: y"],
        "a long field": ["-H", "x: " + "y" * 12_000]}
    for name in list(relays):
        with s.check(f"nghttp: {name} serves calls in {len(manners)} manners"):
            need("nghttp")
            for manner, options in manners.items():
                text = ask(bases[name] + HEALTH, "-d", empty, *GRPC, *options)
                wanted = ["0"] * (20 if "-m" in options else 1)
                assert field(text, "grpc-status") == wanted, f"{manner}: {text[-1200:]}"
                assert "RST_STREAM" not in text and "recv GOAWAY" not in text, f"{manner}: {text[-1200:]}"

        with s.check(f"nghttp: {name} refuses more fields than it announced to take"):
            need("nghttp")
            # 16 KiB of them, in CONTINUATION frames.
            text = ask(bases[name] + HEALTH, "-d", empty, *GRPC, "--continuation")
            assert field(text, "grpc-status") in ([], ["8"]), text[-1200:]
            assert re.search(r"recv GOAWAY|recv RST_STREAM|status: (431|8)", text), text[-1200:]
            text = ask(bases[name] + HEALTH, "-d", empty, *GRPC)
            assert field(text, "grpc-status") == ["0"], text[-1200:]
