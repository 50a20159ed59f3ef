"""PyPI's grpcio: many threads, and everything that can go wrong with a call."""
import collections
import concurrent.futures
import itertools
import os
import random
import time

import grpc
from harness import protos
from harness.streams import code_of

Code = grpc.StatusCode
HEADER = list(protos.HEADER)
LONG = os.environ.get("CYGNET_LONG") == "1"
THREADS = 24
ROUNDS = 200 if LONG else 25


class Client:
    """A channel whose connection must last."""

    def __init__(self, agent, **options):
        self.channel = agent.channel(**options)
        self.api = protos.stub(protos.WORKLOAD_API, self.channel)
        self.health = protos.stub(protos.HEALTH, self.channel)
        self.m = protos.messages(protos.WORKLOAD_API)
        self.states = []
        self.channel.subscribe(self.states.append)
        grpc.channel_ready_future(self.channel).result(10)

    def stayed(self):
        """Fails when the connection was given up in between."""
        time.sleep(0.3)  # a connectivity state is told a little later
        lost = self.states.count(grpc.ChannelConnectivity.READY) != 1 or (
            self.states[-1] is not grpc.ChannelConnectivity.READY)
        assert not lost, f"the connection did not last: {[state.name for state in self.states]}"

    # MARK: calls, each with the code it must end with

    def stream(self):
        return Code.OK, code_of(self.api.FetchX509SVID, self.m.X509SVIDRequest(), metadata=HEADER, timeout=30)

    def token(self):
        return Code.OK, code_of(
            self.api.FetchJWTSVID, self.m.JWTSVIDRequest(audience=["a"]), metadata=HEADER, timeout=30)

    def check(self):
        return Code.OK, code_of(
            self.health.Check, protos.messages(protos.HEALTH).HealthCheckRequest(), timeout=30)

    def validate(self, size):
        return code_of(
            self.api.ValidateJWTSVID, self.m.ValidateJWTSVIDRequest(audience="a", svid="x" * size),
            metadata=HEADER, timeout=30)

    def large(self):
        return Code.INVALID_ARGUMENT, self.validate(60_000)

    def too_large(self):
        return Code.RESOURCE_EXHAUSTED, self.validate(200_000)

    def no_header(self):
        return Code.INVALID_ARGUMENT, code_of(self.api.FetchX509SVID, self.m.X509SVIDRequest(), timeout=30)

    def unknown(self):
        call = self.channel.unary_unary("/SpiffeWorkloadAPI/Guess")
        return Code.UNIMPLEMENTED, code_of(call, b"", metadata=HEADER, timeout=30)

    def compressed(self):
        return Code.UNIMPLEMENTED, code_of(
            self.api.FetchJWTSVID, self.m.JWTSVIDRequest(audience=["a" * 2000]), metadata=HEADER, timeout=30,
            compression=grpc.Compression.Gzip)

    def short(self):
        """A stream that runs into its deadline."""
        call = self.api.FetchX509Bundles(self.m.X509BundlesRequest(), metadata=HEADER, timeout=0.1)
        try:
            for _ in call:
                pass
        except grpc.RpcError as error:
            return Code.DEADLINE_EXCEEDED, (error.code(), error.details())
        return Code.DEADLINE_EXCEEDED, (Code.OK, "")

    def cancelled(self):
        call = self.api.FetchX509SVID(self.m.X509SVIDRequest(), metadata=HEADER, timeout=30)
        call.cancel()
        return Code.CANCELLED, (call.code(), "")

    ALL = [stream, token, check, large, too_large, no_header, unknown, compressed, short, cancelled]


def run_all(jobs, threads=THREADS):
    """Runs jobs, which are (method, client), and fails with those that did not end as they must."""
    def one(job):
        method, client = job
        wanted, (code, details) = method(client)
        return None if code is wanted else f"{method.__name__}: {code.name} {str(details)[:120]}"
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        wrong = collections.Counter(filter(None, pool.map(one, jobs)))
    assert not wrong, f"of {len(jobs)} calls: {wrong.most_common(5)}"


def threads(s, agent):
    with s.check(f"grpcio: {THREADS} threads, ten kinds of calls, four connections"):
        clients = [Client(agent) for _ in range(4)]
        jobs = list(itertools.product(Client.ALL, clients)) * (THREADS * ROUNDS // 40)
        random.Random(13).shuffle(jobs)
        run_all(jobs)
        for client in clients:
            client.stayed()

    with s.check("grpcio: 60 KB mixed with 200 KB on one connection"):
        client = Client(agent)
        run_all([(method, client) for method in (Client.large, Client.too_large, Client.token)] * 20)
        client.stayed()

    with s.check("grpcio: 500 cancelled calls, at any moment of their life"):
        client = Client(agent)
        moments = random.Random(14)
        calls = []
        for number in range(500):
            call = client.api.FetchX509SVID(client.m.X509SVIDRequest(), metadata=HEADER)
            if number % 3 == 0:
                next(call)
            elif number % 3 == 1:
                time.sleep(moments.uniform(0, 0.004))
            calls.append(call)
            if number % 5 == 4:
                for call in calls:
                    call.cancel()
                calls = []
        run_all([(Client.stream, client), (Client.token, client)] * 10)
        client.stayed()


def details(s, agent):
    client = Client(agent)

    with s.check("grpcio: deadlines are kept"):
        for seconds in (0.001, 0.02, 0.3, 1.0):
            begun = time.monotonic()
            call = client.api.FetchX509SVID(client.m.X509SVIDRequest(), metadata=HEADER, timeout=seconds)
            try:
                for _ in call:
                    pass
                code = Code.OK
            except grpc.RpcError as error:
                code = error.code()
            took = time.monotonic() - begun
            assert code is Code.DEADLINE_EXCEEDED, f"{seconds} s: {code}"
            assert took < seconds + 3, f"{seconds} s: after {took:.1f} s"
        client.stayed()

    def fetch(client, *more):
        return code_of(client.api.FetchJWTSVID, client.m.JWTSVIDRequest(audience=["a"]), timeout=20,
                       metadata=[*HEADER, *more])

    with s.check("grpcio: metadata of all kinds is read"):
        kinds = {
            "binary": [("x-bin", bytes(range(256)))],
            "the same name again": [("x", "1"), ("x", "2")],
            "fifty names": [(f"x-{number}", str(number)) for number in range(50)],
            "12 KB": [("x", "y" * 12_000)],
            "an empty value": [("x", "")]}
        for what, fields in kinds.items():
            code, text = fetch(client, *fields)
            assert code is Code.OK, f"{what}: {code} {text}"
        client.stayed()

    with s.check("grpcio: too much metadata is refused, the next call is served"):
        greedy = Client(agent)
        for what, fields in {"20 KB": [("x", "y" * 20_000)], "40 KB": [("x", "y" * 40_000)],
                             "2,000 names": [(f"x-{number}", "y") for number in range(2_000)]}.items():
            code, text = fetch(greedy, *fields)
            assert code in (Code.RESOURCE_EXHAUSTED, Code.UNAVAILABLE), f"{what}: {code} {text}"
            code, text = fetch(greedy)
            assert code is Code.OK, f"after {what}: {code} {text}"
        client.stayed()

    with s.check("grpcio: the answer's metadata and details arrive"):
        answer, call = client.api.FetchJWTSVID.with_call(
            client.m.JWTSVIDRequest(audience=["a"]), metadata=HEADER, timeout=20)
        assert len(answer.svids) == 1 and call.code() is Code.OK and call.details() == "", call
        assert call.initial_metadata() is not None and call.trailing_metadata() is not None
        code, text = code_of(client.api.FetchX509SVID, client.m.X509SVIDRequest(), timeout=20)
        assert (code, "security header" in text) == (Code.INVALID_ARGUMENT, True), (code, text)

    with s.check("grpcio: keepalive PINGs ten times a second are answered"):
        pinging = Client(agent, **{
            "grpc.keepalive_time_ms": 100, "grpc.keepalive_timeout_ms": 5000,
            "grpc.keepalive_permit_without_calls": 1, "grpc.http2.max_pings_without_data": 0})
        call = pinging.api.FetchX509SVID(pinging.m.X509SVIDRequest(), metadata=HEADER, timeout=30)
        next(call)
        time.sleep(2)
        assert call.is_active(), "the stream ended"
        call.cancel()
        pinging.stayed()
