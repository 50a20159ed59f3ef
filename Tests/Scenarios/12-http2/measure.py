"""What a program holds: resident memory and descriptors, from /proc."""
import os
import time

from harness import Skip


def resident(target):
    """KiB of memory that is really there."""
    try:
        with open(f"/proc/{target.pid}/status", encoding="ascii") as lines:
            for line in lines:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1])
    except FileNotFoundError:
        pass
    raise Skip("needs /proc")


def descriptors(target):
    try:
        return len(os.listdir(f"/proc/{target.pid}/fd"))
    except FileNotFoundError:
        raise Skip("needs /proc") from None


class Memory:
    """Looks at a program's memory during an attack."""

    def __init__(self, target):
        self.target = target
        self.before = self.most = resident(target)

    def look(self):
        if self.target.alive:
            self.most = max(self.most, resident(self.target))


def bounded(target, attack, slack, rounds=4):
    """Runs `attack(memory)`, again if need be, until a round does not make the program's memory grow.
    What the first calls of their kind need is kept by the allocator; what is lost, or collects, grows in
    each round."""
    levels = []
    for _ in range(rounds):
        memory = Memory(target)
        attack(memory)
        memory.look()
        levels.append(memory.most)
        if memory.most - memory.before <= slack:
            return
    raise AssertionError(
        f"memory grew by more than {slack} KiB in each of {rounds} rounds: {levels}")


def settled(read, wanted, timeout=10.0):
    """Reads until the value is as small as wanted, or the time is over; gives the last value."""
    deadline = time.monotonic() + timeout
    while True:
        value = read()
        if value <= wanted or time.monotonic() > deadline:
            return value
        time.sleep(0.1)
