"""Why did the valve close? Three agents act in one transaction, and each has what it did in the ledger, signed by itself."""
import os
import secrets

from harness import binary, run, wait_until

STEPS = ["report-reading", "order-close-valve", "close-valve"]


class Ledger:
    """A server's ledger as a folder and a verifier key: all that is needed when the server is off."""

    def __init__(self, server):
        self.folder = os.path.join(server.data_dir, "ledger")
        self.key = server.ok("ledger", "key").strip()

    def call(self, *words):
        return run([binary("cygnet"), "ledger", *words, "--key", self.key])

    def show(self, *words):
        """The lines that are shown; none when the ledger does not hold."""
        done = self.call("show", "--dir", self.folder, *words)
        return done.stdout.splitlines() if done.returncode == 0 else []

    def proved(self, folder, *words):
        """How many leaves are shown, written as proofs, and then hold with the key alone."""
        lines = self.show(*words, "--prove", folder)
        files = [os.path.join(folder, line.split("\t")[0] + ".tlog-proof") for line in lines]
        return len(lines) if lines and all(
            self.call("check", file).returncode == 0 for file in files) else 0


def act(demo, server, sensor, analyzer, action, ids, analyzer_address):
    """The valve closes. Returns the transaction."""
    step, show, expect = demo.step, demo.show, demo.expect
    transaction = "txn-" + secrets.token_hex(8)
    step(f"transaction {transaction}: each agent signs what it does, the next one countersigns")
    code, lines = sensor.run("--connect", analyzer_address, "--expect", ids["analyzer"], "--count", "1",
                             "--sensor", "water-3", "--first", "57.5", "--txn", transaction)
    show(lines + analyzer.lines("recorded") + action.lines("recorded") + action.lines("did close-valve"))
    expect("three agents", "close a valve, and each has its part on record",
           code == 0 and len(action.lines("did close-valve")) == 1, f"exit code {code}")
    ledger = Ledger(server)
    # Readers see a leaf a moment after it was acknowledged.
    wait_until("the statements are published", lambda: len(ledger.show("--txn", transaction)) == 3, 20)
    return transaction


def why(scenario, demo, ledger, transaction, ids):
    """Asks the ledger, with the server switched off."""
    step, show, expect = demo.step, demo.show, demo.expect
    step("the server is off: why did the valve close?")
    lines = ledger.show("--txn", transaction)
    show(lines)
    told = [line.split("  ", 1)[-1] for line in lines]
    actors = [ids["sensor-bot"], ids["analyzer"], ids["action"]]
    held = len(told) == 3 and all(
        line.startswith(f"{actor} did {what} ") for line, actor, what in zip(told, actors, STEPS))
    held = held and all(
        f"countersigned by {peer}" in line for line, peer in zip(told, actors[1:]))
    expect("ledger", "tells who did what in order, signed and countersigned", held, f"{lines}")
    count = ledger.proved(scenario.path("why"), "--txn", transaction)
    expect("ledger", "proves each step to somebody who has its public key only", count == 3, f"{count} proofs")
