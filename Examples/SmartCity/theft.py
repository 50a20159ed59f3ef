"""A sensor's key is stolen: detected, revoked with its children, replaced, and proved from the ledger."""
import os
import re
import shutil
import socket
import ssl

import grpc
import statement
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from harness import binary, free_port, wait_until
from harness.workload import real_executable

SERIAL = re.compile(r"serial ([0-9a-f]+)")


class Thief:
    """Has a certificate and its key in a file, and no process that any agent knows."""

    def __init__(self, scenario, agent, lines):
        self.agent = agent
        text = "\n".join(lines)
        self.chain = self.blocks(text, "CERTIFICATE")
        self.key = self.blocks(text, "PRIVATE KEY")
        self.path = scenario.path("stolen.pem")
        with open(self.path, "w", encoding="utf-8") as file:
            file.write(self.chain + self.key)

    @staticmethod
    def blocks(text, label):
        found = re.findall(rf"-----BEGIN {label}-----.*?-----END {label}-----", text, re.DOTALL)
        return "".join(one + "\n" for one in found)

    def command(self, port):
        """What the pump answers; '' when it does not let the thief in."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.load_cert_chain(self.path)
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as raw:
                with context.wrap_socket(raw) as tls:
                    tls.sendall(b'{"action":"open-gates","reason":"because"}\n')
                    return tls.recv(4096).decode(errors="replace")
        except OSError:
            return ""

    def record(self):
        """Tries to have on record what the sensor is to have done; why that failed."""
        chain = x509.load_pem_x509_certificates(self.chain.encode())
        key = load_pem_private_key(self.key.encode(), None)
        before = os.environ.get("SPIFFE_ENDPOINT_SOCKET")
        os.environ["SPIFFE_ENDPOINT_SOCKET"] = self.agent.address
        try:
            statement.record(statement.sign(
                statement.STATEMENT, {"act": "open-gates", "txn": "txn-stolen"}, chain, key))
            return "recorded"
        except grpc.RpcError as refusal:
            return refusal.code().name
        finally:
            if before is None:
                del os.environ["SPIFFE_ENDPOINT_SOCKET"]
            else:
                os.environ["SPIFFE_ENDPOINT_SOCKET"] = before


def serial_of(lines):
    return next((found[1] for found in map(SERIAL.search, lines) if found), "none")


def run(scenario, demo, server, agent):
    """Returns the serial numbers: stolen, fresh, and the child's before and after."""
    step, show, expect = demo.step, demo.show, demo.expect
    here = os.path.dirname(os.path.abspath(__file__))
    script = os.path.join(here, "field_sensor.py")
    copy = scenario.path("bin", "pump", "pump")
    shutil.copy2(real_executable(binary("smartcity-action")), copy)
    pump = demo.Actor(scenario, agent, "pump", program=copy)
    field = demo.Actor(scenario, agent, "field-sensor", script=script)
    probe = demo.Actor(scenario, agent, "probe", script=script)
    step("a pump house: a field sensor with a probe below it, and a pump that listens to the sensor alone")
    server.create_entry("pump", agent.id, pump.selectors)
    server.create_entry("field-sensor", agent.id, field.selectors)
    server.create_entry("field-sensor/probe", agent.id, probe.selectors)
    port, field_id, pump_id = free_port(), server.id("field-sensor"), server.id("pump")
    pump.start("--listen", f"127.0.0.1:{port}", "--allow", field_id)
    wait_until("the pump listens", lambda: demo.ready(pump), 20)
    _, child = probe.run()
    code, lines = field.run("--connect", f"127.0.0.1:{port}", "--expect", pump_id, "--leak")
    thief = Thief(scenario, agent, lines)
    show([line for line in lines if line.startswith("field:")])

    step("the field sensor was talked into printing its key; the thief commands the pump")
    answer = thief.command(port)
    show(pump.lines("did open-gates"))
    expect("stolen key", "works as long as nobody has noticed", code == 0 and "done" in answer, f"{answer!r}")
    refused = thief.record()

    def alarms():
        return [line for line in agent.daemon.log().split("\n") if "is not its signer" in line]
    demo.wait_a_moment(alarms)
    show([line[-300:] for line in alarms()])
    expect("agent", "notices a statement of the sensor's by a process that is not the sensor",
           refused == "PERMISSION_DENIED" and bool(alarms()), f"answer {refused}")

    step("the operator takes the sensor and all below it back, and lets fresh SVIDs be issued")
    done = server.cli("revocation", "create", "-spiffeID", field_id, "-andChildren", "-replace",
                      "-reason", "key stolen, ticket 4711")
    show(done.stdout.splitlines())
    expect("revocation", "is in force for the sensor and its children", done.returncode == 0, done.stderr.strip())
    acts = len(pump.lines("did open-gates"))
    wait_until("the pump refuses the stolen key", lambda: not thief.command(port), 20)
    # The thief may hear of it before the pump has said it.
    demo.wait_a_moment(lambda: pump.lines("refused a caller"))
    refusals = pump.lines("refused a caller")
    show(refusals[-1:])
    expect("stolen key", "is refused by the pump from then on",
           bool(refusals) and len(pump.lines("did open-gates")) <= acts + 1, f"{refusals}")
    code, fresh = field.run("--connect", f"127.0.0.1:{port}", "--expect", pump_id)
    show(fresh)
    _, after = probe.run()
    serials = [serial_of(one) for one in (lines, fresh, child, after)]
    expect("field sensor", "has a fresh SVID and is served again",
           code == 0 and any("goes on" in line for line in fresh) and len(set(serials)) == 4, f"{serials}")
    return serials


def prove(scenario, demo, ledger, field_id, serials):
    """With the server switched off: what was stolen, what was taken back, what came in its place."""
    step, show, expect = demo.step, demo.show, demo.expect
    step("the server is off: what became of the stolen key?")
    order = []
    for words in (["--type", "svid.issued", "--serial", serials[0]],
                  ["--type", "revocation.created", "--spiffe-id", field_id],
                  ["--type", "svid.issued", "--serial", serials[1]]):
        lines = ledger.show(*words)
        show([line[:150] + "…" for line in lines])
        order += [int(line.split("\t")[0]) for line in lines]
    expect("ledger", "has the stolen SVID, its revocation and the fresh SVID, in this order",
           len(order) == 3 and order == sorted(order), f"{order}")
    revocation = "".join(ledger.show("--type", "revocation.created", "--spiffe-id", field_id))
    child = ledger.show("--type", "svid.issued", "--serial", serials[3])
    expect("ledger", "says that what is below the sensor was taken back too, and replaced",
           '"and_children":true' in revocation and '"replace":true' in revocation and len(child) == 1
           and len(order) == 3 and int(child[0].split("\t")[0]) > order[1], revocation)
    count = ledger.proved(scenario.path("theft"), "--type", "revocation.created", "--spiffe-id", field_id)
    expect("ledger", "proves the revocation to somebody who has its public key only", count == 1, f"{count} proofs")
