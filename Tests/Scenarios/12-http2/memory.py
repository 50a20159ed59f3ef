"""Many connections, one after the other: memory and descriptors of the program are as they were."""
from frames import CANCEL, rst_stream
from judge import LONG
from measure import descriptors, resident, settled

COUNT = 10_000 if LONG else 2_000
WARM_UP = 300
# KiB by which memory may differ from one measurement to the next without anything being kept.
SLACK = 3 * 1024
# When many calls happened to run side by side the allocator keeps what they needed. A loss comes back in
# each round.
ROUNDS = 3
# Descriptors that come and go: a new connection to the server, readers of the store.
FILES = 5


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
            files = descriptors(target) + FILES
            for _ in range(WARM_UP):
                one(target)
            count = COUNT if target is suite.workload_api else COUNT // 5
            levels = [level(target, files)]
            for _ in range(ROUNDS):
                for _ in range(count):
                    one(target)
                levels.append(level(target, files))
                if levels[-1] - levels[-2] <= SLACK:
                    return
            raise AssertionError(
                f"memory grew by more than {SLACK} KiB in each round of {count} connections: {levels}")
        return attack

    on = [suite.workload_api]
    suite.check_alone(f"{COUNT:,} connections that fetch and close leave nothing", flat(fetched), on)
    suite.check_alone(f"{COUNT:,} connections that open a stream and reset it leave nothing",
                      flat(cancelled), on)
    suite.check_alone(f"{COUNT:,} connections that end in the middle of a request leave nothing",
                      flat(cut), on)


def level(target, files):
    """Resident memory once all connections are worked off, which shows in the descriptors."""
    found = settled(lambda: descriptors(target), files)
    assert found <= files, f"{found} descriptors, at most {files} expected"
    target.serve("the connections")
    return resident(target)
