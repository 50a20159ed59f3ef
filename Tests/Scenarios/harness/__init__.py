"""What the scenarios, the demo and the benchmarks share: real programs started and stopped safely,
stock clients, and a report in plain lines."""
import os

# gRPC's own preparation for fork() now and then aborts the child between fork and exec; ours only execs.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

from . import attest, certificates, protos  # noqa: E402
from .cluster import Agent, Server, binary  # noqa: E402
from .process import Daemon, free_port, run, wait_until  # noqa: E402
from .report import Scenario, Skip, main  # noqa: E402
from .workload import Workload, own_selectors  # noqa: E402

__all__ = [
    "attest", "certificates", "protos", "Agent", "Server", "binary", "Daemon", "free_port", "run",
    "wait_until", "Scenario", "Skip", "main", "Workload", "own_selectors",
]
