"""Processes that are always ended: by their own id, never by name."""
import ctypes
import os
import signal
import socket
import subprocess
import threading
import time

PR_SET_PDEATHSIG = 1


def run(argv, timeout=60, check=False, **options):
    """Runs a command to its end and returns it with stdout and stderr as text."""
    done = subprocess.run(
        [str(word) for word in argv], capture_output=True, text=True, timeout=timeout,
        errors="replace", **options)
    if check and done.returncode != 0:
        raise AssertionError(
            f"{' '.join(map(str, argv))} exited with {done.returncode}: "
            f"{(done.stderr or done.stdout).strip()[-600:]}")
    return done


def wait_until(what, condition, timeout=15.0, pause=0.05):
    """Waits until `condition()` is true and returns its value; fails with `what` after `timeout`."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {what}")
        time.sleep(pause)


def free_port():
    """A TCP port of the loopback interface that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def die_with_parent():
    """For `preexec_fn`: the child is killed when the thread that started it ends."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class Daemon:
    """A program that runs until it is told to stop, with its output in a file."""

    def __init__(self, name, argv, log_path, env=None, cwd=None):
        self.name = name
        self.argv = [str(word) for word in argv]
        self.log_path = str(log_path)
        self.env = env
        self.cwd = cwd
        self.process = None

    def start(self):
        environment = dict(os.environ)
        environment.update(self.env or {})
        # A death signal is bound to the starting thread, so only the main thread may ask for it.
        tied = threading.current_thread() is threading.main_thread()
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                env=environment, cwd=self.cwd, preexec_fn=die_with_parent if tied else None)
        return self

    @property
    def pid(self):
        return self.process.pid

    @property
    def alive(self):
        return self.process is not None and self.process.poll() is None

    @property
    def exit_code(self):
        return None if self.process is None else self.process.poll()

    def stop(self, timeout=15.0):
        """Asks the program to end; kills it when it does not. Returns its exit code."""
        if not self.alive:
            return self.exit_code
        self.process.terminate()
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(5)
            return None

    def kill(self):
        """Ends the program the hard way, as a crash or a power cut would."""
        if self.alive:
            self.process.kill()
            self.process.wait(10)

    def wait(self, timeout=15.0):
        return self.process.wait(timeout)

    def log(self):
        try:
            with open(self.log_path, encoding="utf-8", errors="replace") as text:
                return text.read()
        except FileNotFoundError:
            return ""

    def log_tail(self, lines=25):
        return "\n".join(self.log().split("\n")[-lines:])
