"""A scenario: checks with names, a folder of its own, and a teardown that always runs."""
import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback

from .process import Daemon


class Skip(Exception):
    """Raised inside a check that cannot run here; the message says what it would need."""


class Scenario:
    """Holds everything one scenario starts. `with Scenario("01-…") as s:` cleans up in any case."""

    def __init__(self, name):
        self.name = name
        self.passed = 0
        self.failed = 0
        self.skipped = 0
        self.folder = None
        self._at_end = []
        self._daemons = []

    def __enter__(self):
        # Short, because a socket path may have 107 bytes; open, because workloads have other user IDs.
        os.umask(0o022)
        self.folder = tempfile.mkdtemp(prefix="cyg-")
        os.chmod(self.folder, 0o755)
        return self

    def __exit__(self, kind, error, trace):
        for action in reversed(self._at_end):
            try:
                action()
            except Exception as failure:  # teardown goes on whatever happens
                print(f"  teardown: {failure}", flush=True)
        for daemon in reversed(self._daemons):
            daemon.kill()
        if os.environ.get("CYGNET_KEEP") == "1":
            print(f"  kept: {self.folder}", flush=True)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)
        return False

    # MARK: what it holds

    def path(self, *parts):
        path = os.path.join(self.folder, *parts)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path

    def at_end(self, action):
        """Runs `action()` at teardown, last added first."""
        self._at_end.append(action)

    def daemon(self, name, argv, env=None, cwd=None):
        """Starts a program that teardown ends."""
        count = sum(1 for other in self._daemons if other.name == name)
        log = self.path("logs", f"{name}.log" if count == 0 else f"{name}.{count}.log")
        daemon = Daemon(name, argv, log, env=env, cwd=cwd)
        self._daemons.append(daemon)
        return daemon.start()

    # MARK: checks

    @contextlib.contextmanager
    def check(self, what):
        """One named check. A failure is reported and the scenario goes on."""
        begun = time.monotonic()
        try:
            yield
        except Skip as reason:
            self.skipped += 1
            print(f"  skip  {what}: {reason}", flush=True)
        except (Exception, SystemExit) as failure:
            self.failed += 1
            print(f"  FAIL  {what}", flush=True)
            text = str(failure) or failure.__class__.__name__
            print(f"        {failure.__class__.__name__}: {text[:1500]}", flush=True)
            place = traceback.extract_tb(failure.__traceback__)
            mine = [frame for frame in place if "/harness/" not in frame.filename][-1:]
            for frame in mine:
                print(f"        at {os.path.basename(os.path.dirname(frame.filename))}/"
                      f"{os.path.basename(frame.filename)}:{frame.lineno}: {frame.line}", flush=True)
        else:
            self.passed += 1
            print(f"  ok    {what} ({time.monotonic() - begun:.1f} s)", flush=True)

    def note(self, text):
        print(f"        {text}", flush=True)

    def show_logs(self, lines=25):
        for daemon in self._daemons:
            print(f"  --- {daemon.name} (exit code {daemon.exit_code}), last lines:", flush=True)
            for line in daemon.log_tail(lines).split("\n"):
                print(f"      {line}", flush=True)


def main(file, body):
    """Entry point of a scenario's run.py. Exit code 1 when a check failed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended from outside"))
    name = os.path.basename(os.path.dirname(os.path.abspath(file)))
    print(f"{name}", flush=True)
    with Scenario(name) as scenario:
        begun = time.monotonic()
        with scenario.check("set-up and every step reached the end"):
            body(scenario)
        if scenario.failed:
            scenario.show_logs()
        # The runner adds these up.
        print(f"  result {scenario.passed} passed, {scenario.failed} failed, {scenario.skipped} "
              f"skipped ({time.monotonic() - begun:.0f} s)", flush=True)
        failed = scenario.failed
    sys.exit(1 if failed else 0)
