"""What a check may accept, and the suite that runs the same attack on every socket.

A verdict waits until the matter is settled and then says what is acceptable: an RFC 9113 error on the
connection, one on the stream with the connection still in use, or an answer.
"""
import collections
import concurrent.futures
import os
import re
import threading

from frames import code_name
from harness import Skip

LONG = os.environ.get("CYGNET_LONG") == "1"

# settled: whether there is nothing to wait for any more; None: a PING tells.
Verdict = collections.namedtuple("Verdict", "text settled accepts")


def goaway(*codes, silent=False):
    """A connection error: GOAWAY with one of the codes, then the end. `silent`: also without GOAWAY."""
    return Verdict(
        f"GOAWAY {names(codes)} and the end of the connection", lambda peer: peer.closed,
        lambda peer: peer.closed and (peer.goaway[1] in codes if peer.goaway else silent))


def on_stream(text, stream, accepts):
    """Something on one stream, while the connection goes on."""
    return Verdict(
        f"{text} on stream {stream}", lambda peer: peer.stream(stream).over,
        lambda peer: accepts(peer.stream(stream)) and not peer.closed)


def reset(*codes, stream=1):
    """A stream error: RST_STREAM with one of the codes."""
    return on_stream(f"RST_STREAM {names(codes)}", stream, lambda it: it.reset in codes)


def status(*values, stream=1):
    """The call ends with one of these gRPC statuses."""
    wanted = "/".join(map(str, values))
    return on_stream(f"grpc-status {wanted}", stream, lambda it: it.status in values)


def served(stream=1):
    return on_stream("an answer", stream, lambda it: it.status == 0)


def failed(stream=1):
    """The call ends with any gRPC status but OK."""
    return on_stream("a grpc-status other than 0", stream, lambda it: (it.status or 0) > 0)


def http(*values, stream=1):
    """An HTTP answer, whatever gRPC would say."""
    wanted = "/".join(map(str, values))
    return on_stream(f"HTTP {wanted}", stream, lambda it: it.http in values)


def open_still(*streams):
    """Nothing happened to these streams, and the connection goes on."""
    return Verdict(
        f"streams {streams} to stay open", None,
        lambda peer: not peer.closed and not any(peer.stream(number).over for number in streams))


def unharmed():
    return Verdict("the connection to go on", None, lambda peer: not peer.closed)


def any_of(*verdicts):
    waits = None if any(verdict.settled is None for verdict in verdicts) else (
        lambda peer: any(verdict.settled(peer) for verdict in verdicts))
    return Verdict(
        " or ".join(verdict.text for verdict in verdicts), waits,
        lambda peer: any(verdict.accepts(peer) for verdict in verdicts))


def names(codes):
    return "/".join(code_name(code) for code in codes)


def judge(peer, verdict):
    """Waits until it is settled, and fails when the outcome is not acceptable."""
    if verdict.settled is None:
        peer.ping()
    else:
        settled = lambda: verdict.settled(peer)  # noqa: E731
        # First without a PING: one that arrives at a closed TCP port would throw the GOAWAY away.
        if not peer.within(settled, 1.5) and peer.ping():
            peer.within(settled, 5.0)
        if not peer.closed:
            peer.ping()
    # A GOAWAY for a mistake is followed by the end.
    if peer.goaway and peer.goaway[1] != 0:
        peer.within(lambda: peer.closed, 5.0)
    assert verdict.accepts(peer), f"wanted {verdict.text}; got {peer.describe()}"


class Suite:
    """The sockets, and checks that end with an honest client being served on each of them.

    Checks run side by side, because a server lets some time pass after a GOAWAY; their results come in
    order. `CYGNET_JOBS=1` runs them one by one, which tells which one ended a program."""

    def __init__(self, scenario, targets, revive):
        self.scenario = scenario
        self.targets = targets
        self._revive = revive  # starts what has ended
        self._pool = concurrent.futures.ThreadPoolExecutor(int(os.environ.get("CYGNET_JOBS", "24")))
        self._waiting = []
        self._lock = threading.Lock()

    @property
    def workload_api(self):
        return self.targets[0]

    def check(self, what, attack, on=None):
        """One check: the attack on each socket, and an honest call after it. The failures of all
        sockets are reported together."""
        self._waiting.append((what, [
            self._pool.submit(self._one, what, target, attack) for target in on or self.targets]))

    def check_alone(self, what, attack, on=None):
        """A check beside which no other runs: one that measures, or that takes all there is. At full
        length on all sockets, otherwise on those of `on`."""
        self.finish()
        for target in self.targets if on is None or LONG else on:
            self._waiting.append((f"{target.name}: {what}", [
                self._pool.submit(self._one, what, target, attack)]))
            self.finish()

    def _one(self, what, target, attack):
        problems = []
        try:
            attack(target)
        except Skip:
            raise
        except Exception as failure:  # whatever an answer makes of a parser is the answer's fault
            kind = "" if isinstance(failure, AssertionError) else f"{type(failure).__name__}: "
            problems.append(f"{target.name}: {kind}{failure}")
        try:
            target.serve(what)
        except AssertionError as failure:
            problems.append(str(failure))
        return problems

    def finish(self):
        """Waits for the checks so far and reports them."""
        for what, attacks in self._waiting:
            with self.scenario.check(what):
                problems = [problem for attack in attacks for problem in attack.result()]
                problems += self.restart()
                assert not problems, "\n          ".join(problems)
        self._waiting = []

    def restart(self):
        """Starts programs that have ended; says how they ended."""
        ended = [target for target in self.targets if not target.alive]
        words = [f"{target.name}: the program ended with {target.program.daemon.exit_code}: "
                 f"{last_words(target)}" for target in ended]
        if ended:
            self._revive(ended)
        return words

    def case(self, what, attack, verdict, on=None):
        """A check of one exchange. `attack` is bytes, or makes them from the peer (None: it wrote them
        itself)."""
        def run(target):
            with target.peer() as peer:
                sent = attack(peer) if callable(attack) else attack
                if sent:
                    peer.send(sent)
                judge(peer, verdict)
        self.check(what, run, on)

    def table(self, cases, on=None):
        for what, attack, verdict in cases:
            self.case(what, attack, verdict, on)


def last_words(target):
    return next((line for line in target.program.daemon.log().split("\n") if re.search(
        "Fatal error|Precondition failed", line)), target.program.daemon.log_tail(3))
