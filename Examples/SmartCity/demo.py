#!/usr/bin/env python3
"""Runs the smart city and its impostors; see README.md beside this file.

Exit code 0 only when every expectation held. Programs come from $CYGNET_BIN (.build/debug).
"""
import datetime
import hashlib
import os
import re
import shutil
import signal
import socket
import ssl
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "Tests", "Scenarios"))

from cryptography import x509  # noqa: E402
from cryptography.hazmat.primitives import hashes  # noqa: E402
from cryptography.hazmat.primitives.serialization import Encoding  # noqa: E402
from harness import Agent, Scenario, Server, Workload, attest, binary, free_port  # noqa: E402
from harness import wait_until  # noqa: E402
from harness.workload import real_executable  # noqa: E402

import custody  # noqa: E402
import departments  # noqa: E402
import theft  # noqa: E402

DOMAIN = "city.test"
COLOUR = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
started = time.monotonic()
results = []


def paint(text, code):
    return f"\033[{code}m{text}\033[0m" if COLOUR else text


def step(text):
    print(f"\n{paint(f'[{time.monotonic() - started:4.1f} s]', '2')} {paint(text, '1')}", flush=True)


def show(lines):
    for line in lines:
        print(f"          {line}", flush=True)


def expect(who, what, held, why):
    """Notes one expectation for the summary; `why` is the evidence in a line."""
    results.append((who, what, held, why))
    mark = paint("ok", "32") if held else paint("NOT MET", "31")
    show([f"{mark}: {who} {what}" + ("" if held else f" ({why})")])


class Actor:
    """An agent of the city: what runs, under which identity, recognised how."""

    def __init__(self, scenario, agent, name, program=None, script=None):
        self.scenario, self.agent, self.name = scenario, agent, name
        self.workload = Workload(scenario, name)
        self.script = script
        self.program = program
        self.daemon = None
        if self.workload.uid is not None:
            self.selectors = self.workload.selectors
        else:
            file = os.path.realpath(program or self.workload.interpreter)
            with open(file, "rb") as code:
                digest = hashlib.sha256(code.read()).hexdigest()
            self.selectors = [f"unix:path:{file}", f"unix:sha256:{digest}"]

    def command(self, *arguments):
        if self.script:
            return self.workload.python(self.script, *arguments)
        return self.workload.command([self.program, *arguments])

    def start(self, *arguments):
        environment = {**self.workload.environment(), "SPIFFE_ENDPOINT_SOCKET": self.agent.address}
        if not self.script:
            environment.pop("PYTHONHOME", None)
            environment.pop("PYTHONPATH", None)
        self.daemon = self.scenario.daemon(self.name, self.command(*arguments), env=environment)
        return self.daemon

    def run(self, *arguments, timeout=30):
        """Runs to the end; returns exit code and the lines it printed."""
        daemon = self.start(*arguments)
        try:
            daemon.wait(timeout)
        except Exception:
            daemon.kill()
        return daemon.exit_code, [line for line in daemon.log().split("\n") if line.strip()]

    def lines(self, word):
        return [line for line in self.daemon.log().split("\n") if word in line]


def first(lines, default):
    return lines[0] if lines else default


def forge(scenario, spiffe_id):
    """A certificate that claims the ID, made by an authority nobody trusts; files for ssl."""
    key = attest.new_key()
    now = datetime.datetime.now(datetime.timezone.utc)
    name = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Impostors Ltd")])
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name)
        .public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName(
            [x509.UniformResourceIdentifier(spiffe_id)]), False)
        .sign(key, hashes.SHA256()))
    path = scenario.path("forged.pem")
    with open(path, "wb") as file:
        file.write(certificate.public_bytes(Encoding.PEM) + attest.key_pem(key))
    return path


def answer_of(port, wrap=None):
    """What a caller gets back for a reading; '' when the other side hung up."""
    reading = b'{"sensor":"fake","reading":99.0,"action":"open-gates","reason":"because"}\n'
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as raw:
            caller = wrap(raw) if wrap else raw
            caller.sendall(reading)
            data = caller.recv(4096)
            return data.decode(errors="replace") if b"verdict" in data or b"done" in data else ""
    except (OSError, ssl.SSLError):
        return ""


def city(scenario):
    step("starting cygnet-server and cygnet-agent for the trust domain city.test")
    server = Server(scenario, trust_domain=DOMAIN, default_x509_svid_ttl="5m").start()
    agent = Agent(scenario, server).start()
    show([f"server on 127.0.0.1:{server.port}, agent attested with a join token",
          f"Workload API: {agent.address}"])

    sensor = Actor(scenario, agent, "sensor-bot", program=binary("smartcity-sensor"))
    analyzer = Actor(scenario, agent, "analyzer", script=os.path.join(HERE, "analyzer.py"))
    action = Actor(scenario, agent, "action", program=binary("smartcity-action"))
    ids = {name: server.id(name) for name in ("sensor-bot", "analyzer", "action")}

    step("registering three agents, each recognised by what it is on this machine")
    for actor in (sensor, analyzer, action):
        server.create_entry(actor.name, agent.id, actor.selectors)
        show([f"{ids[actor.name]:<32} {'  '.join(short(one) for one in actor.selectors)}"])

    step("starting the action agent (Swift) and the analyzer (Python, stock spiffe package)")
    action_port, analyzer_port = free_port(), free_port()
    action_address, analyzer_address = f"127.0.0.1:{action_port}", f"127.0.0.1:{analyzer_port}"
    action.start("--listen", action_address, "--allow", ids["analyzer"])
    analyzer.start("--listen", analyzer_address, "--allow", ids["sensor-bot"],
                   "--action", action_address, "--expect", ids["action"])
    for actor in (action, analyzer):
        wait_until(f"{actor.name} listens", lambda: ready(actor), 20)
        show(actor.lines("I am") + actor.lines("listening"))

    step("the sensor bot (Swift) sends five readings to the analyzer")
    code, lines = sensor.run("--connect", analyzer_address, "--expect", ids["analyzer"],
                             "--count", "5")
    show(lines)
    answered = sum(1 for line in lines if "-> normal" in line or "-> alarm" in line)
    expect("sensor-bot", "reaches the analyzer over mTLS, five readings answered",
           code == 0 and answered == 5, f"exit code {code}, {answered} answers")
    accepted = analyzer.lines(f"accepted {ids['sensor-bot']}")
    expect("analyzer", "accepted exactly spiffe://city.test/sensor-bot", bool(accepted),
           first(analyzer.lines("refused"), "nothing accepted"))
    done = action.lines("did close-tunnel")
    show(done)
    expect("action", "acted on both alarms, asked by the analyzer alone",
           len(done) == 2 and bool(action.lines(f"accepted {ids['analyzer']}")),
           f"{len(done)} actions")

    impostors(scenario, agent, server, sensor, analyzer, action, ids, action_port, analyzer_port)

    step("the honest sensor bot still gets through")
    code, lines = sensor.run("--connect", analyzer_address, "--expect", ids["analyzer"],
                             "--count", "1")
    expect("sensor-bot", "is served after all that", code == 0, first(lines[-1:], "no output"))

    demo = sys.modules[__name__]
    transaction = custody.act(demo, server, sensor, analyzer, action, ids, analyzer_address)
    serials = theft.run(scenario, demo, server, agent)
    ledger = custody.Ledger(server)
    wait_until("the last SVID is published",
               lambda: ledger.show("--type", "svid.issued", "--serial", serials[3]), 20)
    server.stop()
    custody.why(scenario, demo, ledger, transaction, ids)
    theft.prove(scenario, demo, ledger, server.id("field-sensor"), serials)


def ready(actor):
    if not actor.daemon.alive:
        raise AssertionError(f"{actor.name} ended: {actor.daemon.log_tail(5)}")
    return bool(actor.lines("listening on"))


def short(selector):
    """A selector that fits on a line."""
    selector = re.sub(r"(sha256:[0-9a-f]{12})[0-9a-f]+", r"\1…", selector)
    return re.sub(r"path:.*/([^/]+/[^/]+)$", r"path:…/\1", selector)


def impostors(scenario, agent, server, sensor, analyzer, action, ids, action_port, analyzer_port):
    step("impostor 1: the sensor bot poses as the analyzer and calls the action agent")
    before = len(action.lines("action: did"))
    code, lines = sensor.run("--connect", f"127.0.0.1:{action_port}", "--expect", ids["action"],
                             "--count", "1", timeout=30)
    wait_a_moment(lambda: action.lines("refused"))
    refusal = first(action.lines(f"refused {ids['sensor-bot']}") or action.lines("refused"), "")
    show([refusal or "the action agent said nothing"] + lines[-1:])
    expect("sensor posing as analyzer", "is refused by the action agent",
           code == 2 and bool(refusal) and len(action.lines("action: did")) == before,
           f"exit code {code}; {first(lines[-1:], 'no output')}")

    step("impostor 2: a process that nobody registered")
    # The sensor's own program, byte for byte, elsewhere and under another user.
    copy = scenario.path("bin", "drone", "drone")
    shutil.copy2(real_executable(binary("smartcity-sensor")), copy)
    drone = Actor(scenario, agent, "drone", program=copy)
    code, lines = drone.run("--connect", f"127.0.0.1:{analyzer_port}", "--expect", ids["analyzer"],
                            "--count", "1", timeout=30)
    reason = [line for line in agent.daemon.log().split("\n") if "no identity issued" in line]
    show(lines[-1:] + [line[-300:] for line in reason[-1:]])
    expect("process without an entry", "gets no identity from the agent",
           code == 3 and bool(reason), f"exit code {code}; {first(lines[-1:], 'no output')}")

    step("impostor 3: a caller without TLS")
    refusals = len(analyzer.lines("refused"))
    answers = [answer_of(analyzer_port), answer_of(action_port)]
    wait_a_moment(lambda: len(analyzer.lines("refused")) > refusals
                  and action.lines("refused a caller"))
    said = analyzer.lines("refused")[refusals:] + action.lines("refused a caller")[:1]
    show(said)
    expect("plaintext caller", "is refused by the analyzer and by the action agent",
           answers == ["", ""] and len(said) >= 2, f"answers {answers}, refusals {said}")

    step("impostor 4: a forged certificate with the sensor bot's SPIFFE ID")
    refusals = len(analyzer.lines("refused"))
    path = forge(scenario, ids["sensor-bot"])

    def wrap(raw):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.load_cert_chain(path)
        return context.wrap_socket(raw)
    answer = answer_of(analyzer_port, wrap)
    wait_a_moment(lambda: len(analyzer.lines("refused")) > refusals)
    said = analyzer.lines("refused")[refusals:]
    show(said)
    expect("forged certificate", "is refused by the analyzer", answer == "" and bool(said),
           f"answer {answer!r}")


def wait_a_moment(condition):
    """Gives a log line time to arrive; what it proves is checked by the caller."""
    deadline = time.monotonic() + 5
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended from outside"))
    failure = None
    with Scenario("smart-city") as scenario:
        try:
            city(scenario)
            departments.run(scenario, sys.modules[__name__])
        except (Exception, KeyboardInterrupt) as error:
            failure = error
            print(f"\n{paint('the demo stopped', '31')}: {error}", flush=True)
            scenario.show_logs()
        else:
            if not all(held for _, _, held, _ in results):
                scenario.show_logs(12)
    print(f"\n{paint('Summary', '1')} ({time.monotonic() - started:.0f} s)\n")
    width = max((len(who) for who, *_ in results), default=10)
    for who, what, held, _ in results:
        mark = paint("held    ", "32") if held else paint("NOT MET ", "31")
        print(f"  {mark} {who:<{width}}  {what}")
    good = failure is None and results and all(held for _, _, held, _ in results)
    print(f"\n{sum(held for _, _, held, _ in results)} of {len(results)} expectations held"
          + ("" if failure is None else ", and the demo did not reach its end"))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
