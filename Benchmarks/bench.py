#!/usr/bin/env python3
"""Measures the rows of the table in docs/performance.md and prints each beside its target.

    make bench                          release build, all rows, results written to docs/performance.md
    bench.py [--write FILE] [ROW…]      rows by number; programs from $CYGNET_BIN (.build/release)

Client, agent and server share the machine. Loopback and Unix sockets only; a few minutes in all.
"""
import argparse
import datetime
import itertools
import json
import os
import re
import resource
import shutil
import socket
import ssl
import subprocess
import sys
import time
import uuid

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
os.environ.setdefault("CYGNET_BIN", os.path.join(ROOT, ".build", "release"))
sys.path[:0] = [HERE, os.path.join(ROOT, "Tests", "Scenarios")]

from harness import Agent, Scenario, Server, attest, binary, own_selectors, protos  # noqa: E402
from harness import wait_until  # noqa: E402
from harness.streams import ids, watch_x509  # noqa: E402
from measure import Load, body_file, build_client, cpu_now, machine, percentile, resident  # noqa: E402
from measure import signature_speed, summary_ms  # noqa: E402
from agents import Swarm  # noqa: E402
from partners import Partners  # noqa: E402

MB = 1e6
SOCKET_CALL = "/SpiffeWorkloadAPI/FetchX509SVID"
rows = []


class Value:
    """A figure with its unit and its two targets; smaller is better unless `more`. Without targets (None) it is for
    information; some have no aim beyond what they must be."""

    def __init__(self, label, value, unit, spire, must, aim, more=False, digits=2):
        self.label, self.value, self.unit = label, value, unit
        self.spire, self.must, self.aim, self.more, self.digits = spire, must, aim, more, digits

    @property
    def verdict(self):
        if self.must is None:
            return "–"

        def reached(target):
            return self.value >= target if self.more else self.value <= target
        if self.aim is not None and reached(self.aim):
            return "aim"
        return "must" if reached(self.must) else "MISSED"

    def text(self, number):
        return f"{number:,.{self.digits}f}".rstrip("0").rstrip(".") if self.digits else f"{number:,.0f}"

    def cells(self):
        def cell(number):
            return "–" if number is None else f"{self.text(number)} {self.unit}".rstrip()
        return [self.label, self.spire, cell(self.must), cell(self.aim), f"**{cell(self.value)}**",
                self.verdict]


def row(number, title):
    """Registers a row; the function returns its values and a note."""
    def register(function):
        rows.append((number, title, function))
        return function
    return register


class Bench:
    """What the rows share: a folder, grpcload, and helpers around server and agent."""

    def __init__(self, scenario):
        self.s = scenario
        self.load = Load(build_client(scenario.folder), scenario.folder)
        self.count = 0

    def server(self, **settings):
        self.count += 1
        return Server(self.s, name=f"server{self.count}", log_level="WARN", **settings).start()

    def agent(self, server):
        return Agent(self.s, server, name=f"{server.name}-agent", log_level="WARN").start()

    def pair(self):
        server = self.server()
        return server, self.agent(server)

    def entries(self, server, items, mask=True):
        """Creates entries through the API; `items` are (id, path, parent path, selector value)."""
        m = protos.messages(protos.ENTRY)
        api = server.stub(protos.ENTRY)
        answer = api.BatchCreateEntry(m.BatchCreateEntryRequest(
            entries=[entry(server, *item) for item in items],
            output_mask=protos.types("entry").EntryMask() if mask else None), timeout=60)
        bad = [result.status for result in answer.results if result.status.code != 0]
        if bad:
            raise RuntimeError(f"{len(bad)} entries refused: {bad[0].message}")


def entry(server, name, path, parent, selector, prefetch=True):
    kind, value = selector.split(":", 1)
    types = protos.types
    made = types("entry").Entry(
        id=name, spiffe_id=types("spiffeid").SPIFFEID(trust_domain=server.trust_domain, path=path),
        parent_id=types("spiffeid").SPIFFEID(trust_domain=server.trust_domain, path=parent),
        selectors=[types("selector").Selector(type=kind, value=value)])
    if not prefetch:
        made.additional_attributes.disable_x509_svid_prefetch = True
    return made


def path_of(spiffe_id):
    return "/" + spiffe_id.split("/", 3)[3]


@row(1, "entry created → SVID on an open stream, p99")
def propagation(b):
    server, agent = b.pair()
    (selector,) = own_selectors()
    m = protos.messages(protos.ENTRY)
    api = server.stub(protos.ENTRY)
    b.entries(server, [("base", "/base", path_of(agent.id), selector)])
    workload = agent.workload_api()
    wait_until("the first identity", lambda: _has_identity(workload), 20)
    watch = watch_x509(workload)
    watch.next(20)
    times = []
    for number in range(300):
        name = f"push-{number}"
        request = m.BatchCreateEntryRequest(entries=[
            entry(server, name, f"/{name}", path_of(agent.id), selector)])
        begun = time.monotonic()
        api.BatchCreateEntry(request, timeout=20)
        wanted = server.id(name)
        while True:
            at, message = watch.messages.get(timeout=20)
            if message is None:
                raise RuntimeError(f"the stream ended: {watch.end} {watch.details}")
            if wanted in ids(message):
                break
        times.append(at - begun)
        api.BatchDeleteEntry(m.BatchDeleteEntryRequest(ids=[name]), timeout=20)
        watch.until(lambda message: wanted not in ids(message), 20)
    return ([Value("p99", percentile(times, 0.99) * 1e3, "ms", "7 s", 50, 20)],
            f"{summary_ms(times)}; the clock starts before the create call; Python client")


def _has_identity(api):
    watch = watch_x509(api, timeout=5)
    try:
        watch.next(5)
        return True
    except AssertionError:
        return False
    finally:
        watch.cancel()


@row(2, "first fetch of an SVID not pre-signed, p99")
def on_demand(b):
    server, agent = b.pair()
    (selector,) = own_selectors()
    m = protos.messages(protos.ENTRY)
    api = server.stub(protos.ENTRY)
    b.entries(server, [("base", "/base", path_of(agent.id), "unix:uid:4000000")])
    workload = agent.workload_api()
    times = []
    for number in range(150):
        name = f"lazy-{number}"
        api.BatchCreateEntry(m.BatchCreateEntryRequest(entries=[entry(
            server, name, f"/{name}", path_of(agent.id), selector, prefetch=False)]), timeout=20)
        time.sleep(0.1)  # the agent has the entry by now, and has signed nothing for it
        begun = time.monotonic()
        watch = watch_x509(workload, timeout=20)
        at, message = watch.messages.get(timeout=20)
        if message is None or ids(message) != [server.id(name)]:
            raise RuntimeError(f"unexpected answer: {watch.end} {watch.details}")
        times.append(at - begun)
        watch.cancel()
        api.BatchDeleteEntry(m.BatchDeleteEntryRequest(ids=[name]), timeout=20)
        time.sleep(0.02)
    return ([Value("p99", percentile(times, 0.99) * 1e3, "ms", "490 ms", 20, 10)],
            f"{summary_ms(times)}; entry without prefetch, connection open; Python client")


def served_agent(b):
    """An agent whose socket serves this process one SVID."""
    server, agent = b.pair()
    selectors = own_selectors(b.load.program)
    b.entries(server, [("one", "/one", path_of(agent.id), selectors[0])])

    def served():
        done = subprocess.run(
            [b.load.program, "-u", agent.socket, "-p", SOCKET_CALL, "-m", "new", "-n", "1"],
            capture_output=True, text=True, timeout=30)
        return '"failed": 0' in done.stdout
    wait_until("the agent serves the benchmark", served, 20)
    return server, agent


@row(3, "FetchX509SVID, new connection each, one client")
def fetch_new(b):
    _, agent = served_agent(b)
    arguments = ["-u", agent.socket, "-p", SOCKET_CALL, "-m", "new"]
    b.load.run([*arguments, "-n", 300])
    result, (used,) = b.load.run([*arguments, "-n", 3000], [agent.daemon.pid])
    return ([Value("p50", result["p50_ms"], "ms", "0.97 ms", 1.0, 0.5),
             Value("agent CPU", used / result["calls"] * 1e3, "ms", "0.84 ms", 0.6, 0.4, digits=3)],
            f"{result['calls']} connections; p99 {result['p99_ms']:.2f} ms; grpcload")


@row(4, "FetchX509SVID, reused connection, 64 clients")
def fetch_reused(b):
    _, agent = served_agent(b)
    def calls(clients, count):
        result, (used,) = b.load.run(
            ["-u", agent.socket, "-p", SOCKET_CALL, "-m", "first", "-c", clients, "-n", count],
            [agent.daemon.pid])
        return result, used / result["calls"] * 1e3
    many, of_many = calls(64, 64 * 600)
    one, of_one = calls(1, 10_000)
    return ([Value("agent CPU a call", of_many, "ms", "0.29 ms", 0.15, 0.03, digits=3),
             Value("with one client", of_one, "ms", "0.55 ms", 0.3, 0.06, digits=3)],
            f"{many['calls'] / many['seconds']:,.0f} calls/s, {many['reconnected']} reconnects; one "
            f"client: p50 {one['p50_ms']:.3f} ms; grpcload, stream reset after its first message")


def issue_batches(b):
    """Has one agent issue batches of 100; returns the server's CPU time, the time and how many SVIDs it was."""
    server = b.server()
    node = attest.NodeIdentity(b.s, server, f"{server.name}-node")
    b.entries(server, [("one", "/one", path_of(node.id), "unix:uid:1")])
    m = protos.messages(protos.SVID)
    request = m.BatchNewX509SVIDRequest(params=[
        m.NewX509SVIDParams(entry_id="one", csr=attest.csr_der(attest.new_key()))
        for _ in range(100)])
    api = protos.stub(protos.SVID, node.channel())

    def call():
        answer = api.BatchNewX509SVID(request, timeout=30)
        bad = [result.status for result in answer.results if result.status.code != 0]
        if bad or len(answer.results) != 100:
            raise RuntimeError(f"{len(bad)} refused: {bad[:1]}")
    wait_until("the entry is there", lambda: _quietly(call), 10)
    before, begun = cpu_now(server.daemon.pid), time.monotonic()
    # An agent may have 8,192 of one entry live.
    batches = 75
    for _ in range(batches):
        call()
    used, seconds = cpu_now(server.daemon.pid) - before, time.monotonic() - begun
    return used, seconds, batches * 100


@row(5, "BatchNewX509SVID of 100 over mTLS")
def batch(b):
    used, seconds, made = issue_batches(b)
    return ([Value("server CPU an SVID", used / made * 1e3, "ms", "0.33 ms", 0.15, 0.12, digits=3)],
            f"{made / seconds:,.0f} SVIDs/s from one caller; every one recorded and synced")


def _quietly(call):
    try:
        call()
        return True
    except Exception:
        return False


@row(6, "MintX509SVID / MintJWTSVID, 16 clients")
def mint(b):
    server = b.server()
    m = protos.messages(protos.SVID)
    x509 = m.MintX509SVIDRequest(
        csr=attest.csr_der(attest.new_key(), server.id("minted")))
    jwt = m.MintJWTSVIDRequest(
        id=protos.types("spiffeid").SPIFFEID(trust_domain=server.trust_domain, path="/minted"),
        audience=["audience"])
    values, notes = [], []
    for method, message, calls, spire, must, aim in (
            ("MintX509SVID", x509, 20000, "3,000/s", 6000, 9000),
            ("MintJWTSVID", jwt, 30000, "4,600/s", 9000, 14000)):
        body = body_file(b.s.path(f"{method}.bin"), [message])
        arguments = ["-u", server.socket, "-p", f"/{protos.SVID}/{method}", "-c", 16, "-b", body]
        b.load.run([*arguments, "-n", 1000])
        result, (used,) = b.load.run([*arguments, "-n", calls], [server.daemon.pid])
        rate = result["calls"] / result["seconds"]
        values.append(Value(method, rate, "/s", spire, must, aim, more=True, digits=0))
        notes.append(f"{method}: server CPU {used / result['calls'] * 1e6:.0f} µs, p99 "
                     f"{result['p99_ms']:.1f} ms")
    return values, "; ".join(notes) + "; admin socket, grpcload"


@row(7, "join-token attestations, 16 clients")
def attestations(b):
    server = b.server()
    m = protos.messages(protos.AGENT)
    api = server.stub(protos.AGENT)
    csr = attest.csr_der(attest.new_key())
    tokens = [str(uuid.uuid4()) for _ in range(4000)]
    waiting = [api.CreateJoinToken.future(m.CreateJoinTokenRequest(ttl=600, token=token))
               for token in tokens]
    for call in waiting:
        call.result(60)
    body = body_file(b.s.path("attest.bin"), [attest.request(token, csr) for token in tokens])
    openssl = shutil.which("openssl")
    tunnel = (f"exec {openssl} s_client -connect 127.0.0.1:{server.port} -alpn h2 -quiet "
              "-nocommands -verify_quiet")
    result, (used,) = b.load.run(
        ["-x", tunnel, "-p", f"/{protos.AGENT}/AttestAgent", "-c", 16, "-b", body, "-o"],
        [server.daemon.pid])
    rate = result["calls"] / result["seconds"]
    count = server.json("agent", "count")["count"]
    if count != len(tokens):
        raise RuntimeError(f"{count} agents after {len(tokens)} attestations")
    return ([Value("attestations", rate, "/s", "394/s", 800, 2000, more=True, digits=0)],
            f"{count} tokens, server CPU {used / result['calls'] * 1e3:.2f} ms each; TLS by openssl "
            "s_client, connections open, grpcload")


def create_many(b, server, parents):
    """100,000 entries in batches of 1,000; returns the seconds of each batch."""
    m = protos.messages(protos.ENTRY)
    api = server.stub(protos.ENTRY)
    mask = protos.types("entry").EntryMask()
    times = []
    for part in range(100):
        request = m.BatchCreateEntryRequest(output_mask=mask, entries=[
            entry(server, "", f"/workload/{number}",
                  f"/spire/agent/x/{number % parents}", f"unix:uid:{number}")
            for number in range(part * 1000, part * 1000 + 1000)])
        begun = time.monotonic()
        answer = api.BatchCreateEntry(request, timeout=120)
        times.append(time.monotonic() - begun)
        if any(result.status.code for result in answer.results):
            raise RuntimeError("an entry was refused")
    return times


@row(8, "BatchCreateEntry of 1,000, to 100,000 entries")
def create(b):
    values, notes = [], []
    for label, parents in (("1,000 parents", 1000), ("one parent", 1)):
        server = b.server()
        times = create_many(b, server, parents)
        first, last = sum(times[:10]), sum(times[-10:])
        values.append(Value(label, 100_000 / sum(times), "/s", "789/s, falling to 150/s", 10_000,
                            20_000, more=True, digits=0))
        notes.append(f"{label}: first 10,000 at {10_000 / first:,.0f}/s, last at "
                     f"{10_000 / last:,.0f}/s")
        if parents == 1000:
            b.full = server  # the next row goes on with it
        else:
            server.stop()
    return values, "; ".join(notes)


@row(9, "server with 100,000 entries")
def full_server(b):
    server = getattr(b, "full", None)
    if server is None:
        server = b.server()
        create_many(b, server, 1000)
    time.sleep(3)
    grown = resident(server.daemon.pid) / MB
    before, seconds = cpu_now(server.daemon.pid), 10
    time.sleep(seconds)
    idle = (cpu_now(server.daemon.pid) - before) / seconds * 100
    server.stop()
    begun = time.monotonic()
    server.launch()
    serving = _serving(server, begun)
    time.sleep(3)
    fresh = resident(server.daemon.pid) / MB
    count = server.json("entry", "count")["count"]
    if count != 100_000:
        raise RuntimeError(f"{count} entries after the restart")
    server.stop()
    return ([Value("resident", max(fresh, grown), "MB", "278–362 MB", 120, 100, digits=0),
             Value("idle CPU", idle, "% of a core", "40 %", 0.5, 0.1, digits=2),
             Value("restart to serving", serving, "s", "2.4 s", 1.0, 0.5)],
            f"resident after the restart {fresh:.0f} MB, after the inserts {grown:.0f} MB; serving: "
            "an entry is read through the API")


def _serving(server, begun):
    """Seconds until the server answers a read through its API."""
    import grpc
    m = protos.messages(protos.ENTRY)
    while True:
        channel = server.channel()
        try:
            protos.stub(protos.ENTRY, channel).CountEntries(m.CountEntriesRequest(), timeout=5)
            return time.monotonic() - begun
        except grpc.RpcError:
            if time.monotonic() - begun > 60:
                raise
            time.sleep(0.01)
        finally:
            channel.close()


@row(10, "idle resident")
def idle(b):
    server, agent = b.pair()
    time.sleep(5)
    return ([Value("server", resident(server.daemon.pid) / MB, "MB", "49 MB", 40, 24, digits=1),
             Value("agent", resident(agent.daemon.pid) / MB, "MB", "30 MB", 30, 15, digits=1)],
            "five seconds after start and attestation, no entries")


@row(11, "agent memory per open stream, 1,000 connections with one each")
def streams(b):
    _, agent = served_agent(b)
    pid = agent.daemon.pid
    before = resident(pid)
    holder = b.load.hold(["-u", agent.socket, "-p", SOCKET_CALL, "-c", 1000])
    try:
        time.sleep(2)
        after = resident(pid)
    finally:
        holder.stdin.close()
        holder.wait(20)
    return ([Value("a stream", (after - before) / 1000 / 1024, "KB", "55–61 KB", 70, 20, digits=1)],
            f"agent {before / MB:.1f} MB before, {after / MB:.1f} MB with the streams")


@row(12, "one update to all streams of an agent, to the last of them")
def push(b):
    values, notes = [], []
    for count, must, aim in ((1000, 50, 15), (5000, 150, 50)):
        server, agent = served_agent(b)
        (selector,) = own_selectors(b.load.program)
        holder = b.load.hold(["-u", agent.socket, "-p", SOCKET_CALL, "-c", count])
        try:
            took, spread = [], []
            for index in range(9):
                begun = time.monotonic()
                b.entries(server, [(f"more{index}", f"/more{index}", path_of(agent.id), selector)])
                word, first, last = holder.stdout.readline().split()
                assert word == "all", word
                took.append((float(last) - begun) * 1e3)
                spread.append((float(last) - float(first)) * 1e3)
        finally:
            holder.stdin.close()
            holder.wait(20)
        values.append(Value(f"{count:,} streams", percentile(took, 0.5), "ms", "–", must, aim, digits=1))
        notes.append(f"{count:,} streams: {percentile(spread, 0.5):.1f} ms from the first to the last, "
                     f"slowest of nine {max(took):.1f} ms")
    return values, ("median; the clock starts before an entry is created, so signing is inside; "
                    + "; ".join(notes))


@row(13, "agent memory after 100,000 connections that fetch, cancel and close")
def churn(b):
    _, agent = served_agent(b)
    pid = agent.daemon.pid
    arguments = ["-u", agent.socket, "-p", SOCKET_CALL, "-m", "cancel"]
    b.load.run([*arguments, "-n", 5_000], timeout=300)
    before = resident(pid)
    b.load.run([*arguments, "-n", 100_000], timeout=300)
    growth = (resident(pid) - before) / 1e6
    return ([Value("growth", growth, "MB", "–", 2, 0.5, digits=2)],
            f"{before / MB:.1f} MB before; descriptors after: {len(os.listdir(f'/proc/{pid}/fd'))}")


def sdk(name, digits=2):
    """The figures of one benchmark of sdk-bench, which knows its own targets."""
    done = subprocess.run([binary("sdk-bench"), name], capture_output=True, text=True, timeout=300)
    figures = [json.loads(line) for line in done.stdout.splitlines()]
    if done.returncode != 0 or not figures:
        raise RuntimeError(done.stderr.strip() or f"sdk-bench ended with {done.returncode}")
    return ([Value(figure["label"], figure["value"], figure["unit"], "–", figure["must"], figure["aim"],
                   more=figure["more"], digits=digits) for figure in figures],
            "; ".join(figure["note"] for figure in figures))


@row(14, "SDK: verification of an X509-SVID of two certificates, over its signature checks")
def sdk_chain(b):
    return sdk("chain")


@row(15, "SDK: parse of a SPIFFE ID")
def sdk_id(b):
    return sdk("id", digits=1)


@row(16, "SDK: validation of a JWT-SVID, over its signature check")
def sdk_jwt(b):
    return sdk("jwt")


@row(17, "SDK: verification of a WIT-SVID with proof, over two signature checks")
def sdk_wit(b):
    return sdk("wit")


@row(18, "bundle endpoint, conditional requests over TLS that bring nothing new")
def bundle_endpoint(b):
    h2load = shutil.which("h2load")
    if h2load is None:
        raise RuntimeError("h2load (nghttp2) is missing")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = b.server(federation={"bundle_endpoint": {
        "address": "127.0.0.1", "port": port, 'profile "https_spiffe"': {}}})
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with context.wrap_socket(socket.create_connection(("127.0.0.1", port))) as tls:
        tls.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        head = tls.makefile("rb").read().split(b"\r\n\r\n")[0].decode()
    tag = re.search(r"^etag: (\S+)", head, re.M).group(1)
    count, pid = 200_000, server.daemon.pid
    before = cpu_now(pid)
    text = subprocess.run(
        [h2load, "--h1", "-n", str(count), "-c", "32", "-t", "1", "-H", f"if-none-match: {tag}",
         f"https://127.0.0.1:{port}/"], capture_output=True, text=True, timeout=120, check=True).stdout
    used = cpu_now(pid) - before
    rate = re.search(r"^finished in .*?([\d.]+) req/s", text, re.M)
    unchanged = re.search(r"status codes: .* (\d+) 3xx", text)
    if not rate or not unchanged or int(unchanged.group(1)) != count:
        raise RuntimeError(f"not {count} answers with 304: {text[-800:]}")
    return ([Value("requests", float(rate.group(1)), "/s", "–", 10_000, 30_000, more=True, digits=0)],
            f"h2load, 32 connections kept open, one thread; server CPU {used / count * 1e6:.1f} µs each, so "
            f"{count / used:,.0f}/s of a core")


@row(19, "1,000 federation partners polled, nothing new, at the default hint of 5 minutes")
def partners(b):
    count, hint = 1000, 60
    partners = Partners(b.s, count, hint)
    server = b.server()
    pid = server.daemon.pid
    server.ok("bundle", "set", "-id", "spiffe://hub.test", "-format", "spiffe", "-path", "-",
              input=partners.hub_bundle.decode())
    time.sleep(5)
    idle_from, idle_cpu = time.monotonic(), cpu_now(pid)
    time.sleep(10)
    idle = (cpu_now(pid) - idle_cpu) / (time.monotonic() - idle_from)
    for part in partners.relationships():
        server.ok("federation", "create", "-data", "-", input=part, timeout=60)
    wait_until("all partners have been asked", lambda: partners.full >= count, 120)
    time.sleep(5)
    # The hint is the shortest that is heeded, so that a whole round fits into a minute.
    begun, cpu, asked = time.monotonic(), cpu_now(pid), partners.unchanged
    time.sleep(2 * hint)
    seconds, used = time.monotonic() - begun, cpu_now(pid) - cpu
    asked = partners.unchanged - asked
    if asked < 2 * count or partners.full > count:
        raise RuntimeError(f"{asked} conditional requests in {seconds:.0f} s, {partners.full} others")
    each = max(used - idle * seconds, 0) / asked
    share = idle + each * count / 300
    return ([Value("a core", share * 100, "%", "–", 1, 0.5, digits=2)],
            f"measured at a hint of {hint} s: {asked / seconds:.1f} requests/s took {used / seconds * 100:.2f} % of a core, "
            f"idle {idle * 100:.2f} %, {each * 1e3:.2f} ms for each request on a connection of its own with TLS 1.3; "
            "scaled to 5 minutes")


@row(20, "revocation, to the last of 1,000 that are told of it")
def revocation(b):
    server, agent = served_agent(b)
    (selector,) = own_selectors(b.load.program)
    m = protos.messages(protos.REVOCATIONS)
    api, svids = server.stub(protos.REVOCATIONS), server.stub(protos.SVID)
    mint = protos.messages(protos.SVID).MintX509SVIDRequest
    key, count = attest.new_key(), itertools.count()

    def victim(settled):
        """A further identity of this process, which the agent has and all of its streams. It has a live SVID in any case:
        without one there is nothing to tell the agents."""
        name, begun = f"victim-{next(count)}", time.monotonic()
        b.entries(server, [(name, f"/{name}", path_of(agent.id), selector)])
        svids.MintX509SVID(mint(csr=attest.csr_der(key, server.id(name))), timeout=20)
        settled(begun)
        return server.id(name)

    def revoke(agents, settled):
        """Milliseconds to the last confirmation, from the commit on, and to the last stream, from the call on."""
        target = m.Target(spiffe_id=victim(settled))
        begun = time.monotonic()
        made = api.CreateRevocation(m.CreateRevocationRequest(target=target), timeout=20)
        answer = api.AwaitRevocation(m.AwaitRevocationRequest(id=made.revocation.id), timeout=30)
        if not made.hits.x509_svids:
            raise RuntimeError("no SVID was hit")
        if (answer.agents, answer.confirmed) != (agents, agents):
            raise RuntimeError(f"{answer.confirmed} of {answer.agents} agents confirmed; there are {agents}")
        last = settled(begun)
        return answer.last_confirmation_us / 1e3, last and (last - begun) * 1e3

    def kill():
        """Milliseconds that the command prints."""
        spiffe_id = victim(pause)
        text = server.ok("kill", "-spiffeID", spiffe_id, "-reason", "benchmark")
        said = re.search(r"Confirmed by 1000 of 1000 connected agents, the last one after ([\d.]+)(ms|s)\n", text)
        if not said:
            raise RuntimeError(f"kill said {text[-300:]!r}")
        pause(0)
        return float(said[1]) * (1e3 if said[2] == "s" else 1)

    def pause(_):
        time.sleep(0.3)

    def hold():
        # What is taken back brings each stream one message without the SVID, and one with the new list.
        return b.load.hold(["-u", agent.socket, "-p", SOCKET_CALL, "-c", 1000, "-q", 250])

    def last_stream(holder):
        def settled(begun):
            while True:
                word, _, last = holder.stdout.readline().split()
                assert word == "all", word
                if float(last) > begun:
                    return float(last)
        return settled

    def end(holder):
        holder.stdin.close()
        holder.wait(20)
    holder = hold()
    try:
        streams = [revoke(1, last_stream(holder))[1] for _ in range(9)]
    finally:
        end(holder)
    swarm = Swarm(b.s, server, 999)
    try:
        before = cpu_now(server.daemon.pid)
        agents = [revoke(1000, pause)[0] for _ in range(9)]
        used = (cpu_now(server.daemon.pid) - before) / 9
        killed = [kill() for _ in range(5)]
        holder = hold()
        try:
            both = [max(revoke(1000, last_stream(holder))) for _ in range(5)]
        finally:
            end(holder)
    finally:
        swarm.stop()

    def value(label, times, must=100):
        return Value(label, percentile(times, 0.5), "ms", "–", must, None, digits=1)
    return ([value("agents, from the commit on", agents), value("agents, as kill prints it", killed),
             value("streams of one agent, from the call on", streams),
             value("both together, on the same two cores", both, must=None)],
            f"median; slowest of nine {max(agents):.1f} ms for the agents, {max(streams):.1f} ms for the streams, of five kills "
            f"{max(killed):.1f} ms; server CPU {used * 1e3:.0f} ms for 1,000 agents, the entry's creation included; 999 of the "
            "agents are agentload: one process that confirms at once, each over TLS of its own")


@row(21, "a list of what was taken back of a million SVIDs, one more, signed anew")
def revocation_lists(b):
    return sdk("lists", digits=1)


@row(22, "ledger")
def ledger(b):
    values, note = sdk("ledger", digits=2)
    # What leaves cost is told as a share of what the issuance costs that they are of.
    one, many = [value for value in values if value.must is None]
    server = b.server()
    m = protos.messages(protos.SVID)
    body = body_file(b.s.path("minted.bin"), [m.MintX509SVIDRequest(
        csr=attest.csr_der(attest.new_key(), server.id("minted")))])
    arguments = ["-u", server.socket, "-p", f"/{protos.SVID}/MintX509SVID", "-c", 16, "-b", body]
    b.load.run([*arguments, "-n", 500])
    result, (used,) = b.load.run([*arguments, "-n", 8000], [server.daemon.pid])
    minted = used / result["calls"] * 1e6
    used, _, made = issue_batches(b)
    batched = used / made * 1e6

    def share(label, leaf, svid):
        return Value(f"CPU, of that of issuance {label}", leaf / svid * 100, "%", "–", 5, None, digits=1)
    values = [value for value in values if value.must is not None]
    values[2:2] = [share("in batches, as agents ask for it", many.value, batched),
                   share("one by one by 16 clients", one.value, minted)]
    return values, (f"{note}; {many.value:.1f} µs of {batched:.0f} µs that an SVID of a batch takes, and {one.value:.1f} µs of "
                    f"{minted:.0f} µs that MintX509SVID takes")


def markdown(measured):
    lines = ["| | What | SPIRE 1.15.3 | must | aim | measured | reached |",
             "|---|---|---|---|---|---|---|"]
    notes = []
    for number, title, values, note in measured:
        if values is None:
            lines.append(f"| {number} | {title} | | | | not measured | {note} |")
            continue
        for index, value in enumerate(values):
            label, spire, must, aim, figure, verdict = value.cells()
            name = f"{title}: {label}" if len(values) > 1 or label != "p99" else title
            lines.append(f"| {number if index == 0 else ''} | {name} | {spire} | {must} | {aim} | "
                         f"{figure} | {verdict} |")
        notes.append(f"- Row {number}: {note}.")
    today = datetime.date.today().isoformat()
    swift = subprocess.run(["swift", "--version"], capture_output=True, text=True).stdout
    swift = next((line for line in swift.split("\n") if "Swift version" in line), "").strip()
    head = (f"Measured on {today}: {machine()}; release build, {swift.split(' (')[0] or 'Swift'}. "
            f"Client, agent and server share the cores. {signature_speed()}.\n")
    return head + "\n" + "\n".join(lines) + "\n\n" + "\n".join(notes) + "\n"


def write(path, text):
    """Replaces what stands between the markers of a Markdown file."""
    begin, end = "<!-- results: written by make bench -->", "<!-- end of results -->"
    with open(path, encoding="utf-8") as file:
        old = file.read()
    if begin not in old or end not in old:
        raise SystemExit(f"{path} lacks the lines {begin} and {end}")
    new = old[:old.index(begin) + len(begin)] + "\n\n" + text + "\n" + old[old.index(end):]
    with open(path, "w", encoding="utf-8") as file:
        file.write(new)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("rows", nargs="*", type=int)
    parser.add_argument("--write", metavar="FILE")
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    binary("cygnet-server"), binary("cygnet-agent")
    measured, missed = [], 0
    with Scenario("bench") as scenario:
        bench = Bench(scenario)
        for number, title, function in rows:
            if options.rows and number not in options.rows:
                continue
            begun = time.monotonic()
            print(f"{number:>2}  {title}", flush=True)
            try:
                values, note = function(bench)
            except Exception as failure:
                values, note = None, f"{failure.__class__.__name__}: {str(failure)[:300]}"
                missed += 1
                print(f"    not measured: {note}", flush=True)
            else:
                for value in values:
                    _, spire, must, aim, figure, verdict = value.cells()
                    print(f"    {value.label:<20} {figure.strip('*'):>16}   must {must}, aim {aim}, "
                          f"SPIRE {spire}: {verdict}", flush=True)
                    missed += verdict == "MISSED"
                print(f"    {note} [{time.monotonic() - begun:.0f} s]", flush=True)
            measured.append((number, title, values, note))
            for daemon in scenario._daemons:  # one row's daemons do not disturb the next
                if daemon.alive and daemon is not getattr(
                        getattr(bench, "full", None), "daemon", None):
                    daemon.stop()
    text = markdown(measured)
    print("\n" + text)
    if options.write and not options.rows:
        write(options.write, text)
        print(f"written to {options.write}")
    print("every row reached its target" if missed == 0 else
          f"{missed} figures missed their target or could not be measured")
    return 0


if __name__ == "__main__":
    sys.exit(main())
