"""Agents by the hundred: attested for real, then held by agentload, which confirms and does nothing else."""
import os
import queue
import subprocess
import threading

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from harness import attest, protos
from measure import build_client


class Swarm:
    """`count` attested agents of a server, each with its stream open. They share one key, which spares the making of it."""

    def __init__(self, scenario, server, count):
        self.count = count
        folder = os.path.dirname(scenario.path("swarm", "x"))
        key = attest.new_key()
        with open(os.path.join(folder, "key"), "wb") as file:
            file.write(attest.key_pem(key))
        for number, chain in enumerate(self._attest(scenario, server, attest.csr_der(key))):
            with open(os.path.join(folder, f"{number}.pem"), "wb") as file:
                for der in chain:
                    file.write(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM))
        program = build_client(scenario.folder, "agentload", ["ssl", "crypto"])
        self.process = subprocess.Popen(
            [program, str(server.port), os.path.join(folder, "key"), folder, str(count)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        scenario.at_end(self.stop)
        self.lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        while self._next(60)[0] != "held":
            pass

    def _attest(self, scenario, server, csr):
        m = protos.messages(protos.AGENT)
        api = server.stub(protos.AGENT)
        tokens = [api.CreateJoinToken.future(m.CreateJoinTokenRequest(ttl=600)) for _ in range(self.count)]
        with attest.shared_tunnel(server, scenario).channel() as channel:
            stub = protos.stub(protos.AGENT, channel)
            for token in tokens:
                request = attest.request(token.result(60).value, csr)
                yield next(stub.AttestAgent(iter([request]), timeout=20)).result.svid.cert_chain

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line.split())
        self.lines.put(["ended"])

    def _next(self, timeout):
        words = self.lines.get(timeout=timeout)
        if words[0] == "ended":
            raise RuntimeError("agentload has ended")
        return words

    def confirmed(self, timeout=20):
        """When the last agent wrote its confirmation of the next state, and when the first did; monotonic seconds."""
        word, _, first, last = self._next(timeout)
        assert word == "all", word
        return float(first), float(last)

    def stop(self):
        if self.process.poll() is None:
            self.process.stdin.close()
            self.process.wait(20)
