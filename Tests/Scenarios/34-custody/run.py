"""Workloads have on record what they did: statements and receipts, and all that must not get into the ledger."""
import concurrent.futures
import json
import os
import sys
import time

import grpc
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from harness import Agent, Server, Workload, binary, main, own_selectors, protos, run, wait_until
from harness.streams import watch_x509

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "24-ledger-offline")]
import log  # noqa: E402
from jws import Authority, RECEIPT, STATEMENT, Signer, b64, digest, verified  # noqa: E402

INVALID, DENIED, UNAVAILABLE = "INVALID_ARGUMENT", "PERMISSION_DENIED", "UNAVAILABLE"


class Ledger:
    """A ledger as whoever has its folder and its key sees it."""

    def __init__(self, server):
        self.folder = os.path.join(server.data_dir, "ledger")
        self.key = server.ok("ledger", "key").strip()

    def call(self, *words):
        return run([binary("cygnet"), "ledger", *words, "--dir", self.folder, "--key", self.key])

    def show(self, *words):
        done = self.call("show", *words)
        assert done.returncode == 0, done.stderr
        return [line.split("\t", 1) for line in done.stdout.splitlines()]

    def leaves(self, *words):
        return [(int(index), json.loads(leaf)) for index, leaf in self.show(*words)]


def recorder(agent):
    """Records as this process: the digest of the answer, or the refusal's code and text."""
    messages, api = protos.messages(protos.CUSTODY), protos.stub(protos.CUSTODY, agent.channel())

    def record(statement, receipt="", metadata=protos.HEADER):
        try:
            answer = api.Record(messages.RecordCustodyRequest(statement=statement, receipt=receipt),
                                metadata=metadata, timeout=20)
            return answer.statement_digest
        except grpc.RpcError as refusal:
            return refusal.code().name, refusal.details() or ""
    return record


def body(s):
    server = Server(s).start()
    partner = Authority("partner.test")
    root = s.path("partner.pem")
    with open(root, "wb") as file:
        file.write(partner.certificate.public_bytes(Encoding.PEM))
    server.ok("bundle", "set", "-id", "spiffe://partner.test", "-path", root)
    agent = Agent(s, server).start()
    analyzer, camera = Workload(s, "analyzer"), Workload(s, "camera")
    # The pump is this process.
    server.create_entry("pump", agent.id, own_selectors(), "-federatesWith", "spiffe://partner.test")
    server.create_entry("analyzer", agent.id, analyzer.selectors)
    server.create_entry("camera", agent.id, camera.selectors)

    def fetched(workload):
        return workload.run("plain_grpc.py", agent.address, "fetch-x509").get("svids")

    def own(agent=agent):
        watch = watch_x509(agent.workload_api())
        try:
            return Signer.of(watch.next(20).svids[0])
        except AssertionError:
            return None
        finally:
            watch.cancel()
    pump = wait_until("the pump has its SVID", own, 20)
    peers = {workload.name: Signer.of(wait_until("it is served", lambda: fetched(workload))[0])
             for workload in (analyzer, camera)}
    ledger, record = Ledger(server), recorder(agent)
    recorded = []

    def accepted(statement, receipt=""):
        answer = record(statement, receipt)
        assert answer == digest(statement), answer
        recorded.append((statement, receipt))

    with s.check("a statement with the peer's receipt, one without, and one without a peer are recorded"):
        statement = pump.statement("close-valve", "txn-7", peers["analyzer"].id, details="reads 57.5")
        accepted(statement, peers["analyzer"].receipt(statement))
        accepted(pump.statement("note", "txn-7", peers["camera"].id))
        accepted(pump.statement("open-valve", "txn-7"))

    with s.check("a workload records for itself as another process"):
        statement = peers["analyzer"].statement("order-open-valve", "txn-7", pump.id)
        answer = analyzer.run("plain_grpc.py", agent.address, "record", statement, pump.receipt(statement))
        assert answer == {"digest": digest(statement).hex()}, answer
        recorded.append((statement, ""))

    with s.check("a partner's receipt counts when its bundle is here"):
        statement = pump.statement("lend-water", "txn-partner", "spiffe://partner.test/lock")
        accepted(statement, partner.svid("spiffe://partner.test/lock").receipt(statement))

    with s.check("an RSA key signs with PS256, and nothing of one agent is recorded by another"):
        other = Agent(s, server, name="other", workload_x509_svid_key_type="rsa-2048").start()
        server.create_entry("roller", other.id, own_selectors())
        roller = wait_until("the roller has its SVID", lambda: own(other), 20)
        assert isinstance(roller.key, rsa.RSAPrivateKey), roller.key
        statement = roller.statement("roll", "txn-7", pump.id)
        assert recorder(other)(statement, pump.receipt(statement)) == digest(statement)
        recorded.append((statement, ""))
        answer = record(roller.statement("roll", "txn-bad"))
        assert isinstance(answer, tuple) and answer[0] == DENIED, answer
        other.stop()

    refusals(s, agent, server, pump, peers, camera, record)
    rate(s, pump, record)

    with s.check("what was answered survives kill -9 of the server the moment after"):
        time.sleep(3)  # the rate again
        for number in range(5):
            statement = pump.statement(f"step-{number}", "txn-crash")
            accepted(statement)
        server.kill()
        server.start()
        found = ledger.show("--txn", "txn-crash")
        assert [f"did step-{number} " in line for number, (_, line) in enumerate(found)] == [True] * 5, found

    taken_back(s, server, agent, pump, own, record)
    server.stop()
    offline(s, server, ledger, pump, peers, recorded)


def refusals(s, agent, server, pump, peers, camera, record):
    other = ec.generate_private_key(ec.SECP256R1())
    good = {"act": "close-valve", "txn": "txn-bad"}

    def refused(statement, *words, receipt="", code=INVALID):
        answer = record(statement, receipt)
        assert isinstance(answer, tuple) and answer[0] == code, answer
        for word in words:
            assert word in answer[1], f"{word!r} is not in {answer[1]!r}"

    with s.check("a statement that another key signed is refused"):
        refused(pump.statement("close-valve", "txn-bad", key=other), "not signed by the key of")
        text = pump.statement("close-valve", "txn-bad")
        head, claims, signature = text.split(".")
        refused(f"{head}.{b64(json.dumps({**good, 'sub': pump.id, 'iat': int(time.time())}).encode())}.{signature}",
                "not signed by the key of")

    with s.check("a certificate of the right name from an authority that nobody trusts is refused"):
        refused(Authority("example.org").svid(pump.id).statement("close-valve", "txn-bad"))

    with s.check("nobody records for another workload, whoever signed; the agent's log has an alarm"):
        refused(peers["camera"].statement("look", "txn-bad"), code=DENIED)
        answer = camera.run("plain_grpc.py", agent.address, "record", pump.statement("close-valve", "txn-bad"))
        assert answer["code"] == DENIED, answer
        wait_until("the log says so", lambda: any(
            "the caller is not its signer" in line and pump.id in line for line in agent.daemon.log().split("\n")))

    with s.check("what is not exactly a statement is refused, and told what is wrong"):
        now = int(time.time())
        for words, made in (
                (["sub is not"], {"claims": {"sub": peers["camera"].id}}),
                (["not known"], {"claims": {"note": "a secret"}}),
                (["txn"], {"claims": {"txn": None}}), (["iat"], {"claims": {"iat": None}}),
                (["iat"], {"claims": {"iat": now + 0.5}}), (["certificate holds"], {"claims": {"iat": now - 86_400}}),
                ([], {"claims": {"act": "x" * 129}}), ([], {"claims": {"act": "two\nlines"}}),
                ([], {"claims": {"txn": "two words"}}), ([], {"claims": {"peer": "https://example.org/x"}}),
                (["dig"], {"claims": {"dig": b64(b"short")}}),
                (["header"], {"header": {"kid": "1"}}), ([], {"header": {"alg": "none"}}),
                ([], {"header": {"alg": "HS256"}}), (["typ"], {"header": {"typ": "JWT"}}),
                (["x5c"], {"header": {"x5c": []}}), (["x5c"], {"header": {"x5c": ["AAAA"]}})):
            claims = {**good, **made.pop("claims", {})}
            refused(pump.sign(STATEMENT, claims, **made), *words)
        for text in ("", "a.b", "a.b.c", "é", pump.statement("close-valve", "txn-bad") + "=",
                     pump.receipt("x"), "a" * 16_385):
            refused(text)
        refused(pump.statement("close-valve", "txn-bad", chain=pump.chain + pump.chain * 20))

    with s.check("a receipt that is not the peer's for this statement is refused, and the statement with it"):
        statement = pump.statement("close-valve", "txn-bad", peers["analyzer"].id)
        lock = "spiffe://stranger.test/lock"
        strange = pump.statement("close-valve", "txn-bad", lock)
        for text, receipt in (
                (statement, peers["camera"].receipt(statement)), (statement, pump.receipt(statement)),
                (statement, peers["analyzer"].receipt(statement + "x")),
                (statement, peers["analyzer"].receipt(statement, key=other)),
                (statement, peers["analyzer"].sign(RECEIPT, {"stm": b64(digest(statement)), "txn": "txn-bad"})),
                (statement, statement), (statement, "a.b.c"),
                (pump.statement("close-valve", "txn-bad"), peers["analyzer"].receipt(statement)),
                (strange, Authority("stranger.test").svid(lock).receipt(strange))):
            refused(text, receipt=receipt)

    with s.check("a call without the security header is refused"):
        answer = record(pump.statement("close-valve", "txn-bad"), metadata=())
        assert answer[0] == INVALID, answer


def rate(s, pump, record):
    with s.check("an identity with more than 100 statements at once is held up, and then served again"):
        time.sleep(5)  # the rate is whole again
        # Side by side, so that a slow machine is still faster than what is allowed.
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: record(pump.statement("tick", "txn-rate")), range(400)))
        refused = [answer for answer in answers if isinstance(answer, tuple)]
        assert {code for code, _ in refused} == {UNAVAILABLE}, refused[:2]
        assert len(answers) - len(refused) >= 100, f"{len(refused)} of 400 refused"
        wait_until("it is served again", lambda: isinstance(record(pump.statement("tick", "txn-rate")), bytes), 5)


def taken_back(s, server, agent, pump, own, record):
    with s.check("a statement by an SVID that was taken back is refused, one by the fresh SVID is recorded"):
        server.ok("revocation", "create", "-serial", pump.serial, "-reason", "stolen")
        fresh = wait_until("a fresh SVID", lambda: (lambda now: now and now.serial != pump.serial and now)(own()), 20)
        answer = record(pump.statement("close-valve", "txn-bad"))
        assert answer[0] == DENIED, answer
        assert isinstance(record(fresh.statement("go-on", "txn-after")), bytes)

    with s.check("an identity that is suspended has nothing recorded"):
        server.ok("revocation", "create", "-spiffeID", pump.id, "-suspend", "-reason", "drill")

        def denied():
            answer = record(fresh.statement("close-valve", "txn-bad"))
            return isinstance(answer, tuple) and answer[0] == DENIED
        wait_until("it is refused", denied, 20)


def offline(s, server, ledger, pump, peers, recorded):
    with s.check("with the server off, the ledger tells who did what, in order"):
        lines = [line for _, line in ledger.show("--txn", "txn-7")]
        acts = [(pump.id, "close-valve", peers["analyzer"].id), (pump.id, "note", None), (pump.id, "open-valve", None),
                (peers["analyzer"].id, "order-open-valve", pump.id), (server.id("roller"), "roll", pump.id)]
        assert len(lines) == len(acts), lines
        for line, (who, what, countersigned) in zip(lines, acts):
            assert f"{who} did {what}" in line, line
            assert (f"countersigned by {countersigned}" in line) == (countersigned is not None), line
        assert digest("reads 57.5").hex() in lines[0], lines[0]
        assert ledger.show("--txn", "txn-nobody") == []

    with s.check("nothing that was refused is in it"):
        assert ledger.show("--txn", "txn-bad") == []
        (line,) = ledger.show("--txn", "txn-after")
        assert "did go-on" in line[1], line

    with s.check("each leaf is proved to Python, and Python's cryptography verifies statement and receipt in it"):
        folder = s.path("proofs", "x")[:-2]
        proved = []
        for transaction in ("txn-7", "txn-partner", "txn-crash"):
            done = ledger.call("prove", "--txn", transaction, "--out", folder)
            assert done.returncode == 0, done.stderr
        for name in sorted(os.listdir(folder), key=lambda name: int(name.split(".")[0])):
            with open(os.path.join(folder, name), "rb") as file:
                index, data = log.verify_proof(file.read(), ledger.key)
            assert name == f"{index}.tlog-proof"
            leaf = json.loads(data)
            certificate, claims = verified(leaf["statement"], STATEMENT)
            assert leaf["type"] == "custody.recorded" and leaf["statement_digest"] == digest(leaf["statement"]).hex()
            said = {"txn": claims["txn"], "action": claims["act"], "spiffe_id": claims["sub"], "peer": claims.get("peer"),
                    "serial": format(certificate.serial_number, "x")}
            assert said == {name: leaf.get(name) for name in said}, leaf
            if "receipt" in leaf:
                _, receipt = verified(leaf["receipt"], RECEIPT)
                assert receipt["stm"] == b64(digest(leaf["statement"])) and receipt["sub"] == leaf["peer"], receipt
            proved.append((leaf["statement"], leaf))
        assert [statement for statement, _ in proved] == [statement for statement, _ in recorded]
        assert sum("receipt" in leaf for _, leaf in proved) == 4

    with s.check("the serial number leads to the leaf of the SVID that signed, recorded before"):
        (issued,) = ledger.leaves("--type", "svid.issued", "--serial", pump.serial)
        first = int(ledger.show("--txn", "txn-7")[0][0])
        assert issued[1]["spiffe_id"] == pump.id and issued[0] < first, issued


main(__file__, body)
