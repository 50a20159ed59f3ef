#!/usr/bin/env python3
"""Finds out which functions the daemons use from their start to serving a few workloads.

    function_order.py FOLDER OUT     programs from FOLDER; writes OUT/cygnet-server and OUT/cygnet-agent

Runs both under valgrind's callgrind, lets the agent attest and serve, and writes the functions' symbols in
the order in which they lie in the program, for the linker's --symbol-ordering-file. The programs must have
symbols. About a minute.
"""
import glob
import os
import re
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
FOLDER, OUT = (os.path.abspath(path) for path in sys.argv[1:3])
os.environ["CYGNET_BIN"] = FOLDER
sys.path[:0] = [HERE, os.path.join(ROOT, "Tests", "Scenarios")]

import bench  # noqa: E402
from harness import Agent, Scenario, Server, own_selectors  # noqa: E402
from harness.process import Daemon  # noqa: E402

PROGRAMS = ("cygnet-server", "cygnet-agent")


def watched(start):
    """Starts a daemon under callgrind."""
    def replacement(self):
        name = os.path.basename(self.argv[0])
        self.argv = ["valgrind", "--tool=callgrind", "--fair-sched=yes", "--demangle=no", "--quiet",
                     f"--callgrind-out-file={OUT}/{name}.%p.calls", *self.argv]
        return start(self)
    return replacement


def exercise():
    with Scenario("function-order") as scenario:
        server = Server(scenario, log_level="WARN").start(timeout=150)
        agent = Agent(scenario, server, log_level="WARN").start(timeout=150)
        time.sleep(3)
        load = bench.Bench(scenario)
        selector = own_selectors(load.load.program)[0]
        load.entries(server, [("one", "/one", bench.path_of(agent.id), selector)])
        time.sleep(2)
        for mode in ("new", "cancel"):
            subprocess.run(
                [load.load.program, "-u", agent.socket, "-p", bench.SOCKET_CALL, "-m", mode, "-n", "5"],
                check=True, capture_output=True, timeout=120)
        time.sleep(5)
        agent.daemon.stop(90)
        server.daemon.stop(90)


def executed(program):
    """The symbols of all functions that ran."""
    names = set()
    for path in glob.glob(os.path.join(OUT, program + ".*.calls")):
        with open(path, errors="replace", encoding="utf-8") as profile:
            for line in profile:
                found = re.match(r"c?fn=\(\d+\) (.+)", line)
                if found:
                    # Callgrind numbers the levels of a recursion.
                    names.add(re.sub(r"'\d+$", "", found[1].strip()))
        os.unlink(path)
    return names


def functions(program):
    """(address, symbol) of all functions of a program, in order."""
    table = subprocess.run(
        ["readelf", "-sW", os.path.join(FOLDER, program)], capture_output=True, text=True, check=True)
    found = []
    for line in table.stdout.split("\n"):
        words = line.split()
        if len(words) >= 8 and words[3] == "FUNC" and words[6].isdigit():
            found.append((int(words[1], 16), words[7]))
    return sorted(found)


def main():
    Daemon.start = watched(Daemon.start)
    exercise()
    for program in PROGRAMS:
        ran = executed(program)
        table = functions(program)
        # Several symbols may name one address; whichever the linker knows it by, it is in the list.
        addresses = {address for address, name in table if name in ran}
        order = [name for address, name in table if address in addresses]
        if len(order) < 1000:
            raise SystemExit(f"{program}: only {len(order)} functions seen; does it have symbols?")
        with open(os.path.join(OUT, program), "w", encoding="utf-8") as file:
            file.write("\n".join(order) + "\n")
        print(f"{program}: {len(order):,} of {len(table):,} functions ran")


if __name__ == "__main__":
    main()
