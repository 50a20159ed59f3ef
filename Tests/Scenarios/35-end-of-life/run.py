"""When the last process with an entry's SVIDs ends, they are revoked: openssl refuses what was good a moment before."""
import json
import os
import subprocess
import time

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from harness import Agent, Server, Workload, ledger, main, own_selectors, protos, run, wait_until
from harness.streams import code_of, watch_x509

PEM = serialization.Encoding.PEM
HOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "holder.py")
AUDIENCE = "peer"


class Holder:
    """A process that has SVIDs and no connection any more."""

    def __init__(self, s, workload, agent, name):
        self.process = workload.popen([workload.interpreter, "-u", HOLDER, agent.address, AUDIENCE],
                                      stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(f"{name} got nothing; exit code {self.process.wait()}")
        self.had = json.loads(line)
        self.token = self.had["token"]
        self.key = self.had["key"]
        self.leaf = write(s, f"{name}.pem", "".join(self.had["chain"]))
        self.roots = write(s, f"{name}-roots.pem", "".join(self.had["roots"]))
        self.serial = x509.load_pem_x509_certificate(self.had["chain"][0].encode()).serial_number

    def kill(self):
        """SIGKILL: the process has no time to say anything to anybody."""
        self.process.kill()
        self.process.wait()


def write(s, name, text):
    path = s.path("files", name)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def lists(agent):
    """The lists that the agent hands to a verifier now."""
    watch = watch_x509(agent.workload_api(), timeout=10)
    try:
        return [x509.load_der_x509_crl(der) for der in watch.next().crl]
    finally:
        watch.cancel()


def verify(s, agent, holder):
    """What openssl says of the holder's certificate, with the lists of this moment."""
    crls = write(s, "lists.pem", "".join(crl.public_bytes(PEM).decode() for crl in lists(agent)))
    return run(["openssl", "verify", "-crl_check", "-CAfile", holder.roots, "-CRLfile", crls, holder.leaf])


def is_good(s, agent, holder):
    return verify(s, agent, holder).returncode == 0


def is_revoked(s, agent, holder):
    done = verify(s, agent, holder)
    return done.returncode != 0 and "revoked" in done.stdout + done.stderr


def token_code(agent, token):
    messages = protos.messages(protos.WORKLOAD_API)
    return code_of(agent.workload_api().ValidateJWTSVID, messages.ValidateJWTSVIDRequest(
        audience=AUDIENCE, svid=token), metadata=protos.HEADER, timeout=10)


def ends(server):
    """The revocations that ends of workloads have made."""
    return [one for one in server.json("revocation", "list")["revocations"] if "workload" in one["target"]]


def update(server, agent, entry_id, path, selectors, *flags):
    words = ["entry", "update", "-entryID", entry_id, "-parentID", agent.id, "-spiffeID", server.id(path)]
    for selector in selectors:
        words += ["-selector", selector]
    return server.ok(*words, *flags)


def options(s, server, agent, entry_id, plain_id, workload):
    with s.check("entry show tells the option, in text and in JSON; an update that does not name it keeps it"):
        assert "RevokeOnExit            : true\n" in server.ok("entry", "show", "-entryID", entry_id)
        assert "RevokeOnExit" not in server.ok("entry", "show", "-entryID", plain_id)
        (shown,) = server.json("entry", "show", "-entryID", entry_id)["entries"]
        assert shown["additional_attributes"]["revoke_on_exit"] is True, shown
        assert "RevokeOnExit" in update(server, agent, entry_id, "mortal", workload.selectors)
        done = server.cli("entry", "create", "-revokeOnExit", "-storeSVID", "-parentID", agent.id,
                          "-spiffeID", server.id("stored"), "-selector", "a:b")
        assert done.returncode == 1 and "revoke_on_exit" in done.stderr, done


def shared(s, server, agent, workload):
    first = Holder(s, workload, agent, "first")
    second = Holder(s, workload, agent, "second")
    with s.check("two processes share the SVID; while one of them lives it is good"):
        assert first.serial == second.serial and first.token == second.token
        assert is_good(s, agent, first)
        first.kill()
        # Nothing is to happen, so there is nothing to wait for.
        time.sleep(2)
        assert is_good(s, agent, first) and ends(server) == []
        assert token_code(agent, first.token)[0] == grpc.StatusCode.OK
    with s.check("killed with SIGKILL, the last process takes its X509-SVID with it: openssl refuses it"):
        second.kill()
        wait_until("openssl refuses the certificate", lambda: is_revoked(s, agent, second), timeout=10)
    with s.check("and its JWT-SVID: ValidateJWTSVID refuses it"):
        wait_until("the token is refused", lambda: token_code(agent, second.token)[0]
                   == grpc.StatusCode.INVALID_ARGUMENT, timeout=10)
    with s.check("one revocation says what was revoked, by whom and why"):
        (made,) = ends(server)
        assert made["target"]["workload"]["agent_id"] == agent.id, made
        assert made["replace"] and made["reason"] == "process ended" and made["caller"] == agent.id, made
        text = server.ok("revocation", "show", "-id", made["id"])
        assert "Workload          : " in text and "Reason            : process ended\n" in text, text
    with s.check("a fresh process has another certificate for another key, and another token"):
        fresh = Holder(s, workload, agent, "fresh")
        assert fresh.serial != second.serial and fresh.key != second.key and fresh.token != second.token
        assert is_good(s, agent, fresh) and is_revoked(s, agent, second)
        assert token_code(agent, fresh.token)[0] == grpc.StatusCode.OK
    return fresh


def restarted(s, server, agent, second, workload):
    with s.check("what was revoked is revoked after a restart of the server, and what is fresh is not"):
        server.restart()
        wait_until("the agent is back", lambda: agent.healthy())
        assert len(ends(server)) == 1
        assert is_good(s, agent, second)
    with s.check("a process that ends while the server is away is told of when it is back"):
        server.stop()
        second.kill()
        time.sleep(1)
        server.start()
        wait_until("openssl refuses the certificate", lambda: is_revoked(s, agent, second), timeout=60)
        assert len(ends(server)) == 2
    with s.check("and the next process is served again"):
        last = wait_until("a holder is served", lambda: attempt(s, workload, agent), timeout=60)
        assert last.serial != second.serial and is_good(s, agent, last)
        return last


def attempt(s, workload, agent):
    try:
        return Holder(s, workload, agent, "last")
    except AssertionError:
        return None


def agent_restarted(s, server, agent, workload, last):
    with s.check("the agent is killed, the process ends meanwhile: started again, the agent has its SVIDs revoked"):
        before = len(ends(server))
        assert is_good(s, agent, last)
        agent.kill()
        last.kill()
        agent.start()
        wait_until("openssl refuses the certificate", lambda: is_revoked(s, agent, last), timeout=30)
        assert len(ends(server)) == before + 1
        assert token_code(agent, last.token)[0] == grpc.StatusCode.INVALID_ARGUMENT
    with s.check("a process that lives on is watched again: its SVIDs are good until it ends"):
        survivor = wait_until("a holder is served", lambda: attempt(s, workload, agent), timeout=60)
        assert survivor.serial != last.serial
        with open(os.path.join(agent.data_dir, "served-workloads.json"), encoding="utf-8") as file:
            assert len(json.load(file)["processes"]) == 1
        agent.kill()
        agent.start()
        # Nothing is to happen, so there is nothing to wait for.
        time.sleep(2)
        assert is_good(s, agent, survivor) and len(ends(server)) == before + 1
        survivor.kill()
        wait_until("openssl refuses the certificate", lambda: is_revoked(s, agent, survivor), timeout=30)
    with s.check("records that cannot be read: the agent says so, and what it had obtained is revoked"):
        lost = wait_until("a holder is served", lambda: attempt(s, workload, agent), timeout=60)
        agent.kill()
        with open(os.path.join(agent.data_dir, "served-workloads.json"), "w", encoding="utf-8") as file:
            file.write('{"version":1,"boo')
        agent.start()
        wait_until("openssl refuses the certificate", lambda: is_revoked(s, agent, lost), timeout=30)
        assert "cannot be read" in agent.daemon.log()
        lost.kill()
    return wait_until("a holder is served", lambda: attempt(s, workload, agent), timeout=60)


def switched_off(s, server, agent, entry_id, workload, last):
    with s.check("switched off, the end of a process leaves its SVIDs alone"):
        text = update(server, agent, entry_id, "mortal", workload.selectors, "-revokeOnExit=false")
        assert "RevokeOnExit" not in text, text
        before = len(ends(server))
        time.sleep(1)
        last.kill()
        time.sleep(2)
        assert len(ends(server)) == before and is_good(s, agent, last)


def body(s):
    server = Server(s).start()
    agent = Agent(s, server).start()
    mortal, plain = Workload(s, "mortal"), Workload(s, "plain")
    entry_id = server.create_entry("mortal", agent.id, mortal.selectors, "-revokeOnExit")
    plain_id = server.create_entry("plain", agent.id, plain.selectors)
    # The test itself, which verifies.
    server.create_entry("verifier", agent.id, own_selectors())
    wait_until("the verifier is served", lambda: code_of(
        agent.workload_api().FetchX509SVID, protos.messages(protos.WORKLOAD_API).X509SVIDRequest(),
        metadata=protos.HEADER, timeout=10)[0] == grpc.StatusCode.OK)
    wait_until("there are lists", lambda: lists(agent))
    options(s, server, agent, entry_id, plain_id, mortal)

    ordinary = Holder(s, plain, agent, "plain")
    ordinary.kill()
    fresh = shared(s, server, agent, mortal)
    with s.check("an entry without the option is not touched"):
        assert is_good(s, agent, ordinary)
        assert Holder(s, plain, agent, "plain-again").serial == ordinary.serial
    last = restarted(s, server, agent, fresh, mortal)
    last = agent_restarted(s, server, agent, mortal, last)
    switched_off(s, server, agent, entry_id, mortal, last)
    with s.check("the ledger has a leaf for each, with the agent as who did it"):
        leaves = ledger.of_type(server, "revocation.created")
        assert {leaf["revocation_id"] for leaf in leaves} >= {one["id"] for one in ends(server)}, leaves
        for leaf in leaves:
            assert leaf["target_type"] == "workload" and leaf["target"] == f"{entry_id}@{agent.id}", leaf
            assert leaf["caller"] == agent.id and leaf["reason"] == "process ended", leaf


main(__file__, body)
