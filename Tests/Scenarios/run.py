#!/usr/bin/env python3
"""Runs the scenarios: every numbered folder beside this file, or those whose name starts with an
argument (`run.py 01 05`). The last line is `N passed, N failed`; the exit code is 1 when one failed.

    --jobs N    how many at a time (2)
    --list      names only
"""
import argparse
import concurrent.futures
import os
import re
import signal
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
# A scenario that takes longer hangs.
LIMIT = 600 if os.environ.get("CYGNET_LONG") == "1" else 300

# These take a minute or more. They begin first, so that none of them is left over when all others have ended.
SLOW = ("31-hostile-partners", "06-rotation", "12-http2", "13-http2-clients", "32-witness", "26-ledger")

running = {}
lock = threading.Lock()


def scenarios(wanted):
    names = sorted(
        name for name in os.listdir(HERE)
        if re.match(r"\d\d-", name) and os.path.isfile(os.path.join(HERE, name, "run.py")))
    return [name for name in names if not wanted or any(name.startswith(word) for word in wanted)]


def run_one(name):
    """Runs one scenario in a process group of its own; returns its output and counts."""
    process = subprocess.Popen(
        [sys.executable, "-u", os.path.join(HERE, name, "run.py")], stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        env={**os.environ, "PYTHONPATH": HERE, "PYTHONDONTWRITEBYTECODE": "1",
             # Programs are started after clients were used; grpcio's fork hooks would abort them.
             "GRPC_ENABLE_FORK_SUPPORT": "0"},
        start_new_session=True)
    with lock:
        running[process.pid] = process
    try:
        output, _ = process.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        process.terminate()  # lets the scenario tear down
        try:
            output, _ = process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
        output += f"\n  FAIL  {name} did not end within {LIMIT} s\n"
    finally:
        with lock:
            running.pop(process.pid, None)
    found = re.findall(r"^  result (\d+) passed, (\d+) failed, (\d+) skipped", output, re.M)
    passed, failed, skipped = map(int, found[-1]) if found else (0, 1, 0)
    if process.returncode != 0 and failed == 0:
        failed = 1
    if not found:
        output += f"  FAIL  {name} ended with {process.returncode} before its result\n"
    return output, passed, failed, skipped


def stop_all(*_):
    with lock:
        for process in running.values():
            process.terminate()
    sys.exit(130)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    names = scenarios(options.names)
    if options.list:
        print("\n".join(names))
        return 0
    signal.signal(signal.SIGTERM, stop_all)
    signal.signal(signal.SIGINT, stop_all)
    sys.path.insert(0, HERE)
    from harness import protos
    protos.folder()  # once, before several scenarios want it at the same time

    begun = time.monotonic()
    passed = failed = skipped = 0
    failures = []
    print(f"{len(names)} scenarios, {options.jobs} at a time", flush=True)
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        waiting = {pool.submit(run_one, name): name
                   for name in sorted(names, key=lambda name: SLOW.index(name) if name in SLOW else len(SLOW))}
        for done in concurrent.futures.as_completed(waiting):
            output, good, bad, left = done.result()
            print(output.rstrip("\n"), flush=True)
            passed, failed, skipped = passed + good, failed + bad, skipped + left
            if bad:
                failures.append(waiting[done])
    print()
    if failures:
        print(f"failed: {', '.join(sorted(failures))}")
    if skipped:
        print(f"{skipped} checks skipped; each said what it needs")
    print(f"{len(names)} scenarios in {time.monotonic() - begun:.0f} s")
    print(f"{passed} passed, {failed} failed", flush=True)
    return 1 if failed or not names else 0


if __name__ == "__main__":
    sys.exit(main())
