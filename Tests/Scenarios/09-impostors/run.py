"""No trick with processes yields another process's identity."""
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time

from harness import Agent, Server, Skip, main, wait_until
from harness.workload import real_executable

HARNESS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "harness")
HTTP2 = os.path.join(HARNESS, "http2.py")
ENVIRONMENT = {
    **os.environ, "PYTHONHOME": sys.base_prefix, "PYTHONPATH": sysconfig.get_paths()["purelib"],
    "PYTHONDONTWRITEBYTECODE": "1"}


class Program:
    """A private copy of the interpreter: a program with a path and a digest of its own."""

    def __init__(self, s, name):
        self.path = s.path("bin", name, "python3")
        shutil.copy2(real_executable(), self.path)
        self.path = os.path.realpath(self.path)
        self.selector = f"unix:path:{self.path}"

    def digest(self):
        with open(self.path, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()

    def run(self, *arguments, **options):
        return subprocess.run(
            [self.path, *arguments], env=ENVIRONMENT, capture_output=True, text=True, timeout=30,
            **options)

    def popen(self, code, *arguments, **options):
        return subprocess.Popen(
            [self.path, "-c", code, *arguments], env=ENVIRONMENT, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, **options)

    def fetch(self, socket_path):
        """The identities that this program gets by itself."""
        done = self.run(HTTP2, socket_path)
        assert done.returncode == 0, done.stderr[-500:]
        return json.loads(done.stdout)


# How each of the tricks below begins.
CONNECT = """
import os, socket, sys, time
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
os.set_inheritable(s.fileno(), True)
"""


def body(s):
    server = Server(s).start()
    agent = Agent(s, server).start()
    victim, attacker, stranger = (Program(s, name) for name in ("victim", "attacker", "stranger"))
    server.create_entry("victim", agent.id, [victim.selector])
    server.create_entry("attacker", agent.id, [attacker.selector])
    victim_id, attacker_id = server.id("victim"), server.id("attacker")
    wait_until("the victim gets its identity", lambda: victim.fetch(agent.socket) == [victim_id])

    with s.check("each program gets its own identity, a stranger none"):
        assert attacker.fetch(agent.socket) == [attacker_id]
        assert stranger.fetch(agent.socket) == []

    exec_after_connect(s, agent, victim, stranger)
    forks(s, agent, victim, attacker, stranger, victim_id)
    passed_socket(s, agent, victim, stranger)
    pid_reuse(s, agent, victim, attacker)
    changed_binary(s, server, agent)

    with s.check("and honest programs are still served"):
        assert victim.fetch(agent.socket) == [victim_id]
        assert agent.daemon.alive


def exec_after_connect(s, agent, victim, stranger):
    with s.check("WEP-13: connect, then exec the victim's program: a helper holding the socket gets nothing"):
        # The parent becomes the victim's program (asleep); its child keeps the connection and asks.
        code = CONNECT + """
sys.path.insert(0, sys.argv[3])
import http2, json
child = os.fork()
if child == 0:
    sys.stdin.readline()
    print(json.dumps(http2.fetch(s)), flush=True)
    os._exit(0)
os.execv(sys.argv[2], [sys.argv[2], "-c", "import time; time.sleep(20)"])
"""
        process = stranger.popen(code, agent.socket, victim.path, HARNESS)
        s.at_end(lambda: process.poll() is None and process.kill())
        wait_until("it runs the victim's program", lambda: os.readlink(
            f"/proc/{process.pid}/exe") == victim.path)
        process.stdin.write("go\n")
        process.stdin.flush()
        got = json.loads(process.stdout.readline() or "[]")
        process.kill()
        assert got == [], f"got {got}"

    with s.check("WEP-13: a stream opened before an exec does not follow the new program"):
        code = CONNECT + """
sys.path.insert(0, sys.argv[3])
import http2, json
s.sendall(http2.PREFACE + http2.frame(http2.SETTINGS, 0, 0))
if os.fork() == 0:
    sys.stdin.readline()
    print(json.dumps(http2.fetch(s, opened=True)), flush=True)
    os._exit(0)
time.sleep(0.3)
os.execv(sys.argv[2], [sys.argv[2], "-c", "import time; time.sleep(20)"])
"""
        process = stranger.popen(code, agent.socket, victim.path, HARNESS)
        s.at_end(lambda: process.poll() is None and process.kill())
        wait_until("it runs the victim's program", lambda: os.readlink(
            f"/proc/{process.pid}/exe") == victim.path)
        process.stdin.write("go\n")
        process.stdin.flush()
        got = json.loads(process.stdout.readline() or "[]")
        process.kill()
        assert got == [], f"got {got}"


def forks(s, agent, victim, attacker, stranger, victim_id):
    code = CONNECT + """
sys.path.insert(0, sys.argv[2])
import http2, json
if os.fork() == 0:
    if os.fork() == 0:
        sys.stdin.readline()
        print(json.dumps(http2.fetch(s)), flush=True)
    os._exit(0)
os._exit(0)
"""
    with s.check("WEP-13: double fork: the connection of a process that has ended yields nothing"):
        for program in (stranger, attacker):
            process = program.popen(code, agent.socket, HARNESS)
            process.wait(10)
            time.sleep(0.2)
            process.stdin.write("go\n")
            process.stdin.flush()
            got = json.loads(process.stdout.readline() or "[]")
            assert got == [], f"{program.path}: got {got}"

    with s.check("WEP-14: a child that connects itself is attested as itself"):
        code = """
import os, sys
if os.fork() == 0:
    os.execv(sys.argv[1], sys.argv[1:])
os.wait()
"""
        process = attacker.popen(code, victim.path, HTTP2, agent.socket)
        got = json.loads(process.stdout.readline() or "[]")
        process.wait(10)
        assert got == [victim_id], got


def passed_socket(s, agent, victim, stranger):
    with s.check("WEP-13: a passed socket never gives the receiver's identity to the sender"):
        # A stranger connects and hands the connection to the victim, who uses it unsuspecting.
        ours, theirs = socket.socketpair()
        os.set_inheritable(theirs.fileno(), True)
        sender = stranger.popen(CONNECT + """
channel = socket.socket(fileno=int(sys.argv[2]))
socket.send_fds(channel, [b"x"], [s.fileno()])
sys.stdin.readline()
""", agent.socket, str(theirs.fileno()), pass_fds=[theirs.fileno()])
        s.at_end(lambda: sender.poll() is None and sender.kill())
        _, (passed,), _, _ = socket.recv_fds(ours, 1, 1)
        done = victim.run(HTTP2, str(passed), pass_fds=[passed])
        assert json.loads(done.stdout or "[]") == [], done.stdout
        os.close(passed)
        sender.kill()

    with s.check("WEP-13: a socket whose sender has ended yields nothing"):
        ours, theirs = socket.socketpair()
        os.set_inheritable(theirs.fileno(), True)
        sender = victim.popen(CONNECT + """
channel = socket.socket(fileno=int(sys.argv[2]))
socket.send_fds(channel, [b"x"], [s.fileno()])
""", agent.socket, str(theirs.fileno()), pass_fds=[theirs.fileno()])
        _, (passed,), _, _ = socket.recv_fds(ours, 1, 1)
        sender.wait(10)
        time.sleep(0.2)
        done = stranger.run(HTTP2, str(passed), pass_fds=[passed])
        os.close(passed)
        assert json.loads(done.stdout or "[]") == [], f"got {done.stdout} (wanted nothing)"


def pid_reuse(s, agent, victim, attacker):
    with s.check("WEP-13: a PID that was given to the victim does not open the attacker's old connection"):
        last_pid = "/proc/sys/kernel/ns_last_pid"
        if os.geteuid() != 0 or not os.access(last_pid, os.W_OK):
            raise Skip("needs root to choose a PID")
        code = CONNECT + """
sys.path.insert(0, sys.argv[2])
import http2, json
if os.fork() == 0:
    sys.stdin.readline()
    print(json.dumps(http2.fetch(s)), flush=True)
    os._exit(0)
os._exit(0)
"""
        for _ in range(20):
            process = attacker.popen(code, agent.socket, HARNESS)
            wanted = process.pid
            process.wait(10)
            sleeper = None
            for _ in range(200):
                with open(last_pid, "w", encoding="ascii") as file:
                    file.write(str(wanted - 1))
                sleeper = subprocess.Popen(
                    [victim.path, "-c", "import time; time.sleep(20)"], env=ENVIRONMENT)
                if sleeper.pid == wanted:
                    break
                sleeper.send_signal(signal.SIGKILL)
                sleeper.wait()
                sleeper = None
            process.stdin.write("go\n")
            process.stdin.flush()
            got = json.loads(process.stdout.readline() or "[]")
            if sleeper is not None:
                sleeper.kill()
                sleeper.wait()
                assert got == [], f"got {got} through PID {wanted}"
                return
        raise Skip("the kernel did not give the PID again")


def changed_binary(s, server, agent):
    program = Program(s, "pinned")
    server.create_entry("pinned", agent.id, [
        program.selector, f"unix:sha256:{program.digest()}"])
    identity = server.id("pinned")

    with s.check("a pinned binary gets its identity"):
        wait_until("the pinned program is served",
                   lambda: program.fetch(agent.socket) == [identity])

    with s.check("a longer binary at the same path gets nothing"):
        with open(program.path, "rb") as file:
            good = file.read()
        with open(program.path, "ab") as file:
            file.write(b"\0")
        assert program.fetch(agent.socket) == []

    with s.check("a binary of the same size with a forged time stamp gets nothing"):
        with open(program.path, "wb") as file:
            file.write(good)
        assert program.fetch(agent.socket) == [identity]
        before = os.stat(program.path)
        # A byte of the ELF header's padding: the program still runs, its digest differs.
        with open(program.path, "r+b") as file:
            file.seek(9)
            file.write(b"\x2a")
        os.utime(program.path, ns=(before.st_atime_ns, before.st_mtime_ns))
        after = os.stat(program.path)
        assert (after.st_size, after.st_mtime_ns, after.st_ino) == (
            before.st_size, before.st_mtime_ns, before.st_ino)
        assert program.fetch(agent.socket) == [], "the digest came from a cache that can be fooled"

    with s.check("WEP-13: a binary replaced while it runs is attested by what runs"):
        with open(program.path, "wb") as file:
            file.write(good)
        other = program.path + ".new"
        with open(other, "wb") as file:
            file.write(good + b"\0")
        os.chmod(other, 0o755)
        code = """
import os, sys
sys.stdin.readline()
sys.path.insert(0, sys.argv[2])
import http2, json, socket
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
print(json.dumps(http2.fetch(s)), flush=True)
"""
        process = program.popen(code, agent.socket, HARNESS)
        time.sleep(0.3)
        os.rename(other, program.path)
        process.stdin.write("go\n")
        process.stdin.flush()
        got = json.loads(process.stdout.readline() or "[]")
        process.wait(10)
        # Its own program or nothing: the file at the path is somebody else's now.
        assert got in ([], [identity]), got
        assert program.fetch(agent.socket) == [], "the replacement got the identity"


main(__file__, body)
