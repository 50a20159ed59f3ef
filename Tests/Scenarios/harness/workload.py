"""Processes with an identity of their own.

Root gives every workload a user ID; anybody else gives it a private copy of the interpreter, so that
its path tells it apart. Both ways end in selectors that no other process of the test has.
"""
import json
import os
import shutil
import subprocess
import sys
import sysconfig

from .process import run

HERE = os.path.dirname(os.path.abspath(__file__))
CLIENTS = os.path.join(os.path.dirname(HERE), "clients")
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))

_next_uid = 20001 + (os.getpid() % 20000)


def can_set_uid():
    return os.geteuid() == 0 and shutil.which("setpriv") is not None


def real_executable(path=None):
    """The file that /proc/PID/exe of such a process points to."""
    return os.path.realpath(path or sys.executable)


def own_selectors(program=None):
    """Selectors of the test's own process, or of a program it starts, that no Workload has."""
    if can_set_uid():
        return [f"unix:uid:{os.getuid()}"]
    return [f"unix:path:{real_executable(program)}"]


class Workload:
    """One identity to run programs under."""

    def __init__(self, scenario, name, force_path=False):
        global _next_uid
        self.scenario = scenario
        self.name = name
        self.uid = None
        self.interpreter = sys.executable
        self.env = {}
        if can_set_uid() and not force_path:
            _next_uid += 1
            self.uid = _next_uid
        else:
            self.interpreter = scenario.path("bin", name, "python3")
            shutil.copy2(real_executable(), self.interpreter)
            self.env = {
                "PYTHONHOME": sys.base_prefix,
                "PYTHONPATH": sysconfig.get_paths()["purelib"],
            }

    @property
    def selectors(self):
        if self.uid is not None:
            return [f"unix:uid:{self.uid}"]
        return [f"unix:path:{os.path.realpath(self.interpreter)}"]

    def command(self, argv):
        """The command line that runs `argv` under this identity."""
        argv = [str(word) for word in argv]
        if self.uid is None:
            return argv
        # The user may read what its starter can, wherever the repository was cloned; nothing else.
        return ["setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups",
                "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search", *argv]

    def python(self, script, *arguments):
        """The command line that runs a Python script of `clients/` under this identity."""
        if not os.path.isabs(script):
            script = os.path.join(CLIENTS, script)
        return self.command([self.interpreter, "-u", script, *arguments])

    def environment(self, extra=None):
        environment = {"CYGNET_ROOT": ROOT, "PYTHONDONTWRITEBYTECODE": "1"}
        environment.update(self.env)
        environment.update(extra or {})
        return environment

    def run(self, script, *arguments, timeout=60, check=True):
        """Runs a client to its end; the client prints one JSON value on its last line."""
        done = run(
            self.python(script, *arguments), timeout=timeout, check=check,
            env={**os.environ, **self.environment()})
        lines = [line for line in done.stdout.split("\n") if line.strip()]
        if not lines:
            raise AssertionError(f"{script} printed nothing: {done.stderr.strip()[-800:]}")
        return json.loads(lines[-1])

    def start(self, script, *arguments):
        """Starts a client in the background; teardown ends it."""
        return self.scenario.daemon(
            self.name, self.python(script, *arguments), env=self.environment())

    def popen(self, argv, **options):
        """Starts a program under this identity with pipes; teardown ends it."""
        process = subprocess.Popen(
            self.command(argv), env={**os.environ, **self.environment()}, **options)
        self.scenario.at_end(lambda: (process.poll() is None) and process.kill())
        return process
