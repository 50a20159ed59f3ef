"""Measuring processes: CPU time, resident memory, and loads made by grpcload."""
import json
import os
import platform
import shutil
import statistics
import struct
import subprocess
import time

HERE = os.path.dirname(os.path.abspath(__file__))


def cpu_now(pid):
    """CPU seconds of a process with nanosecond resolution, ended threads included: its own CPU clock, whose
    number the kernel derives from the process ID."""
    return time.clock_gettime_ns(((~pid) << 3) | 2) / 1e9


def resident(pid):
    """Resident bytes of a process."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as maps:
        for line in maps:
            if line.startswith("Rss:"):
                return int(line.split()[1]) * 1024
    raise ValueError("no Rss line")


def percentile(values, share):
    values = sorted(values)
    return values[int(share * (len(values) - 1))]


def summary_ms(values):
    return (f"p50 {statistics.median(values) * 1e3:.2f}, p99 {percentile(values, 0.99) * 1e3:.2f} ms "
            f"({len(values)} times)")


def build_client(folder, name="grpcload", libraries=()):
    """Compiles a C program beside this file with the C compiler of the machine, or the one of the Swift toolchain."""
    compiler = shutil.which("cc")
    if not compiler:
        swift = shutil.which("swift")
        compiler = swift and os.path.join(os.path.dirname(os.path.realpath(swift)), "clang")
    out = os.path.join(folder, name)
    subprocess.run(
        [compiler, "-O2", "-o", out, os.path.join(HERE, f"{name}.c"), *(f"-l{one}" for one in libraries)],
        check=True)
    return out


def body_file(path, messages):
    """Messages in the form that grpcload reads."""
    with open(path, "wb") as file:
        for message in messages:
            data = message if isinstance(message, bytes) else message.SerializeToString()
            file.write(struct.pack(">I", len(data)) + data)
    return path


class Load:
    """One run of grpcload, with the CPU time that daemons use while it lasts."""

    def __init__(self, program, folder):
        self.program, self.folder = program, folder
        self.number = 0

    def run(self, arguments, pids=(), timeout=180):
        """Returns grpcload's result and the CPU seconds of each process during the measured part."""
        self.number += 1
        gate = os.path.join(self.folder, f"gate.{self.number}")
        process = subprocess.Popen(
            [self.program, *map(str, arguments), "-P", gate], stdout=subprocess.PIPE, text=True)
        try:
            line = process.stdout.readline()
            if line.strip() != "ready":
                raise RuntimeError(f"grpcload said {line!r}")
            time.sleep(0.3)
            before = [cpu_now(pid) for pid in pids]
            open(gate, "w", encoding="ascii").close()
            result = json.loads(process.stdout.readline())
            used = [cpu_now(pid) - start for pid, start in zip(pids, before)]
            process.wait(timeout)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        if result["failed"]:
            raise RuntimeError(f"{result['failed']} of {result['calls']} calls failed")
        return result, used

    def hold(self, arguments):
        """Opens connections and streams and keeps them until the process's stdin is closed."""
        process = subprocess.Popen(
            [self.program, "-m", "hold", *map(str, arguments)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True)
        line = process.stdout.readline()
        if line.strip() != "held":
            process.kill()
            process.wait()
            raise RuntimeError(f"grpcload said {line!r}")
        return process


def machine():
    """The machine in a line."""
    model = platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as info:
            for line in info:
                if line.startswith("model name"):
                    model = line.split(":", 1)[1].strip()
                    break
        with open("/proc/meminfo", encoding="utf-8") as info:
            memory = int(info.readline().split()[1]) / (1 << 20)
    except OSError:
        memory = 0.0
    return (f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB, "
            f"{platform.system()} {platform.release().split('-')[0]}")


def signature_speed():
    """What one core does of the work that no program can save: P-256 signatures and verifications a second, by
    openssl. The figures of issuance move with it from machine to machine, and on shared hosts from hour to hour."""
    openssl = shutil.which("openssl")
    if not openssl:
        return "openssl is not installed"
    output = subprocess.run([openssl, "speed", "-seconds", "1", "ecdsap256"], capture_output=True, text=True,
                            check=True).stdout
    signs, verifies = (float(word) for word in output.split()[-2:])
    return f"P-256 by openssl on one core: {signs:,.0f} signatures/s, {verifies:,.0f} verifications/s"
