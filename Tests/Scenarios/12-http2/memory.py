"""Many connections, one after the other: memory and descriptors of the program are as they were."""
from frames import CANCEL, rst_stream
from judge import LONG
from measure import descriptors, resident, settled

COUNT = 10_000 if LONG else 2_000
WARM_UP = 300
# KiB by which memory may differ from one measurement to the next without anything being kept.
SLACK = 3 * 1024


def run(suite):
    """A connection costs tens of kilobytes, a call some; with 1.5 KiB lost each time the slack is used
    up."""
    def fetched(target):
        with target.peer() as peer:
            peer.send(peer.request(1, target.watch or target.path))
            peer.until(lambda: len(peer.stream(1).body) >= 5 or peer.stream(1).over, "a message")
            assert peer.stream(1).body, peer.describe()

    def cancelled(target):
        with target.silent_peer() as peer:
            peer.hello(wait=False)
            peer.send(peer.headers(1, target.fields(target.watch or target.path)), rst_stream(1, CANCEL))

    def cut(target):
        with target.silent_peer() as peer:
            peer.hello(wait=False)
            peer.send(peer.request(1, target.watch or target.path)[:-3])
            peer.reset_connection()

    def flat(one):
        def attack(target):
            before_warm_up = descriptors(target)
            for _ in range(WARM_UP):
                one(target)
            # All of it is worked off once the descriptors are gone.
            files = settled(lambda: descriptors(target), before_warm_up)
            target.serve("the warm-up")
            before = resident(target)
            for _ in range(COUNT):
                one(target)
            now = settled(lambda: descriptors(target), files)
            assert now <= files, f"{now} descriptors, {files} before"
            target.serve("the connections")
            growth = settled(lambda: resident(target) - before, SLACK, timeout=3.0)
            assert growth <= SLACK, (
                f"memory grew by {growth} KiB from {before} in {COUNT} connections; "
                f"{SLACK} are allowed")
        return attack

    on = [suite.workload_api]
    suite.check_alone(f"{COUNT} connections that fetch and close leave nothing", flat(fetched), on)
    suite.check_alone(f"{COUNT} connections that open a stream and reset it leave nothing",
                      flat(cancelled), on)
    suite.check_alone(f"{COUNT} connections that end in the middle of a request leave nothing",
                      flat(cut), on)
