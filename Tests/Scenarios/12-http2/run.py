"""Hostile and sloppy HTTP/2 clients on every socket."""
import os
import sys
import time

import abrupt
import connection_errors
import floods
import flow_control
import grpc_layer
import headers
import memory
import opening
import stream_errors
import targets
from harness import Agent, Server, main, own_selectors, wait_until
from judge import Suite

TOPICS = [opening, connection_errors, stream_errors, headers, flow_control, grpc_layer, floods, abrupt,
          memory]


def body(s):
    # A program that was brought down should be gone at once, not after a long look at itself.
    os.environ["SWIFT_BACKTRACE"] = "enable=no"
    server = Server(s, log_level="ERROR").start()
    agent = Agent(s, server, log_level="ERROR").start()
    server.create_entry("one", agent.id, own_selectors())
    sockets = targets.of(server, agent)

    def served():
        try:
            sockets[0].serve("the start")
            return True
        except AssertionError:
            return False
    wait_until("the entry reaches the agent", served)

    def revive(ended):
        """An attack that succeeds is reported once, not with every check after it."""
        for program in (server, agent):
            if any(target.program is program for target in ended):
                program.start()
                for target in sockets:
                    if target.program is program:
                        target.forget()

    suite = Suite(s, sockets, revive)
    only = os.environ.get("CYGNET_ONLY", "").split()
    for topic in TOPICS:
        if only and topic.__name__ not in only:
            continue
        begun = time.monotonic()
        topic.run(suite)
        suite.finish()
        s.note(f"{topic.__name__}: {time.monotonic() - begun:.1f} s")


if __name__ == "__main__":
    sys.exit(main(__file__, body))
