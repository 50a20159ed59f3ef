"""kill -9 at random moments loses nothing that was acknowledged."""
import json
import os
import random
import threading
import time

import grpc
from harness import Agent, Server, Workload, attest, main, protos, wait_until
from harness import ledger

ROUNDS = 30 if os.environ.get("CYGNET_LONG") == "1" else 6


class Load(threading.Thread):
    """Creates entries and mints SVIDs on the admin socket until it is told to stop."""

    def __init__(self, server, name, parent):
        super().__init__(daemon=True)
        self.server, self.name_, self.parent = server, name, parent
        self.acknowledged, self.serials, self.tokens = [], [], []
        self.enough = threading.Event()
        self.number = 0

    def run(self):
        types = protos.types
        entries, svids = protos.messages(protos.ENTRY), protos.messages(protos.SVID)
        entry_type, id_type = types("entry").Entry, types("spiffeid").SPIFFEID
        selector = types("selector").Selector(type="unix", value="uid:987654")
        domain = self.server.trust_domain
        parent = id_type(trust_domain=domain, path="/" + self.parent.split("/", 3)[3])
        csr = attest.csr_der(attest.new_key(), self.server.id("minted"))
        while not self.enough.is_set():
            channel = self.server.channel()
            entry_api = protos.stub(protos.ENTRY, channel)
            svid_api = protos.stub(protos.SVID, channel)
            try:
                while not self.enough.is_set():
                    self.number += 1
                    wanted = [f"{self.name_}-{self.number}-{part}" for part in range(5)]
                    answer = entry_api.BatchCreateEntry(entries.BatchCreateEntryRequest(entries=[
                        entry_type(id=one, spiffe_id=id_type(trust_domain=domain, path=f"/{one}"),
                                   parent_id=parent, selectors=[selector]) for one in wanted]),
                        timeout=10)
                    for result in answer.results:
                        if result.status.code == 0:
                            self.acknowledged.append(result.entry.id)
                    svid = svid_api.MintX509SVID(
                        svids.MintX509SVIDRequest(csr=csr), timeout=10).svid
                    self.serials.append(attest.serial(svid.cert_chain[0]))
                    token = svid_api.MintJWTSVID(svids.MintJWTSVIDRequest(
                        id=id_type(trust_domain=domain, path="/minted"), audience=["a"]),
                        timeout=10).svid.token
                    self.tokens.append(token)
            except grpc.RpcError:
                time.sleep(0.05)
            finally:
                channel.close()

    def stop(self):
        self.enough.set()
        self.join(20)


def body(s):
    dice = random.Random(int(os.environ.get("CYGNET_SEED", time.time_ns() % 100_000)))
    s.note("random moments; CYGNET_SEED repeats a run's order, not its timing")
    server = Server(s).start()
    agent = Agent(s, server).start()
    workload = Workload(s, "workload")
    server.create_entry("workload", agent.id, workload.selectors)
    wait_until("the workload is served", lambda: "svids" in workload.run(
        "plain_grpc.py", agent.address, "fetch-x509"))
    bundle = server.bundle_pem()
    jwt_bundle = server.ok("bundle", "show", "-format", "spiffe")
    seen = []
    loads = []

    with s.check(f"{ROUNDS} rounds of kill -9 of the server under load"):
        for number in range(ROUNDS):
            load = Load(server, f"r{number}", agent.id)
            loads.append(load)
            load.start()
            time.sleep(dice.uniform(0.2, 1.5))
            server.kill()
            load.enough.set()
            server.start()
            load.stop()
        s.note(f"{sum(len(load.acknowledged) for load in loads)} entries and "
               f"{sum(len(load.serials) for load in loads)} SVIDs acknowledged")

    with s.check("every acknowledged entry is there exactly once"):
        acknowledged = [one for load in loads for one in load.acknowledged]
        assert len(acknowledged) > ROUNDS * 5, "the load did next to nothing"
        present = [one["id"] for one in server.entries()]
        assert len(present) == len(set(present)), "an entry appears twice"
        lost = set(acknowledged) - set(present)
        assert not lost, f"{len(lost)} acknowledged entries are gone: {sorted(lost)[:5]}"

    with s.check("the authorities resumed"):
        assert server.bundle_pem() == bundle, "the X.509 bundle changed"
        now = server.ok("bundle", "show", "-format", "spiffe")
        assert keys(now) == keys(jwt_bundle), "the JWT authorities changed"

    with s.check("the agent is connected again and new entries reach it"):
        late = Workload(s, "late")
        server.create_entry("late", agent.id, late.selectors)
        wait_until("the new entry is served", lambda: "svids" in late.run(
            "plain_grpc.py", agent.address, "fetch-x509"), 30)

    with s.check("kill -9 of the agent: same identity, no new token, workloads served again"):
        for _ in range(max(3, ROUNDS // 2)):
            watch = workload.start("plain_grpc.py", agent.address, "serials", "20")
            time.sleep(dice.uniform(0.1, 1.2))
            agent.kill()
            agent.start()
            answer = workload.run("plain_grpc.py", agent.address, "fetch-x509")
            assert "svids" in answer, answer
            seen += [svid["serial"] for svid in answer["svids"]]
            watch.stop()
        assert server.json("agent", "count")["count"] == 1, "the agent attested anew"

    with s.check("both killed at once come back"):
        server.kill()
        agent.kill()
        server.start()
        agent.start()
        answer = workload.run("plain_grpc.py", agent.address, "fetch-x509")
        assert "svids" in answer, answer
        seen += [svid["serial"] for svid in answer["svids"]]

    with s.check("every SVID that a client received has its leaf"):
        serials = seen + [serial for load in loads for serial in load.serials]
        assert serials
        missing = ledger.missing_serials(server, serials)
        assert not missing, f"{len(missing)} of {len(serials)} have no leaf: {missing[:3]}"
        tokens = [token for load in loads for token in load.tokens]
        assert tokens
        missing = ledger.missing_tokens(server, tokens)
        assert not missing, f"{len(missing)} of {len(tokens)} tokens have no leaf: {missing[:3]}"

    with s.check("every acknowledged entry, and each call that made one, is in the ledger"):
        leaves = ledger.leaves(server)
        created = [leaf for leaf in leaves if leaf["type"] == "entry.created"]
        lost = set(acknowledged) - {leaf["subject"] for leaf in created}
        assert not lost, f"{len(lost)} entries have no leaf: {sorted(lost)[:5]}"
        # Who was told that it is there was told by a call that is there.
        calls = [leaf for leaf in leaves if leaf["type"] == "admin.call"
                 and leaf["method"].endswith("/BatchCreateEntry") and leaf["status"] == "OK"]
        assert len(calls) >= len(acknowledged) / 5, f"{len(calls)} calls"
        assert all(leaf["caller"].startswith("uid:") for leaf in calls + created), "no caller"

    with s.check("changes are in the ledger in the order of the feed, without gaps"):
        numbers = []
        for leaf in leaves:
            if leaf["type"].split(".")[0] in ("entry", "node", "bundle", "federation") and "seq" in leaf:
                numbers.append(leaf["seq"])
        assert numbers == sorted(set(numbers)), "changes are out of order or there twice"
        # Some changes have no leaf (an agent first uses a renewed SVID, its version); entries all have one.
        assert len(numbers) >= len(acknowledged)


def keys(bundle):
    return sorted(json.dumps(key, sort_keys=True) for key in json.loads(bundle)["keys"])


main(__file__, body)
