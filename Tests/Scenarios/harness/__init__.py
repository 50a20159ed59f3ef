"""What the scenarios, the demo and the benchmarks share: real programs started and stopped safely,
stock clients, and a report in plain lines."""
from . import attest, certificates, protos
from .cluster import Agent, Server, binary
from .process import Daemon, free_port, run, wait_until
from .report import Scenario, Skip, main
from .workload import Workload, own_selectors

__all__ = [
    "attest", "certificates", "protos", "Agent", "Server", "binary", "Daemon", "free_port", "run",
    "wait_until", "Scenario", "Skip", "main", "Workload", "own_selectors",
]
