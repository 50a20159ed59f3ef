#!/usr/bin/env python3
"""What the daemons' resident memory is made of when they are idle: pages of the program by dependency, and the rest by mapping.

    memory_by_dependency.py FOLDER     programs from FOLDER, with symbols: CYGNET_SYMBOLS=1 dev/release

Starts a server and an agent, waits until the agent is attested and five seconds more. A page of the program that is
resident is counted for the symbols that lie on it, by their share of its bytes. Swift's symbols name their module; those
of C and C++ are told apart by their prefix.
"""
import bisect
import collections
import os
import re
import struct
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "Tests", "Scenarios")]
os.environ["CYGNET_BIN"] = os.path.abspath(sys.argv[1]) if len(sys.argv) == 2 else ""

from harness import Agent, Scenario, Server  # noqa: E402

PAGE = 4096
# Prefixes of C and C++ symbols and of Swift modules, with the dependency that they came with. First match wins.
OURS = ("SPIFFE", "HTTP2", "CPeer", "Agent", "Server", "Plugin", "cygnet", "WorkloadAPIProto", "ControlPlaneProto", "ServiceRuntime")
C_PREFIXES = [
    (re.compile(r"CNIOBoringSSL"), "swift-nio-ssl (BoringSSL)"),
    (re.compile(r"CCryptoBoringSSL"), "swift-crypto (BoringSSL)"),
    (re.compile(r"icudt|(u|ucol|uloc|unum|udat|ures|ucnv|utext|umutx|uprv|uhash|ubrk|unorm2?|uset|utrie2?|ucptrie)[a-zA-Z]*_|.*icu_?\d*|.*swift_foundation_icu"),
     "Foundation: ICU"),
    (re.compile(r"_?(CF|_CF|__CF|kCF)"), "Foundation: CoreFoundation"),
    (re.compile(r"sqlite3"), "SQLite"),
    (re.compile(r"c_nio|CNIO"), "swift-nio"),
    (re.compile(r"_?swift_|_ZN?K?5swift|_ZNK?5swift|_ZNSt|_ZN4llvm|_ZN12_GLOBAL"), "Swift runtime"),
]
MODULES = {
    "Foundation": "Foundation", "FoundationEssentials": "Foundation", "FoundationInternationalization": "Foundation",
    "_FoundationCollections": "Foundation", "_FoundationICU": "Foundation: ICU",
    "SwiftProtobuf": "swift-protobuf", "GRPCCore": "grpc-swift", "GRPCProtobuf": "grpc-swift",
    "NIOCore": "swift-nio", "NIOPosix": "swift-nio", "NIOConcurrencyHelpers": "swift-nio", "NIOHTTP1": "swift-nio",
    "NIOHPACK": "swift-nio-http2", "NIOHTTP2": "swift-nio-http2", "NIOSSL": "swift-nio-ssl", "NIOTLS": "swift-nio",
    "X509": "swift-certificates", "SwiftASN1": "swift-asn1", "Crypto": "swift-crypto", "CryptoExtras": "swift-crypto",
    "_CryptoExtras": "swift-crypto", "CryptoBoringWrapper": "swift-crypto", "ArgumentParser": "swift-argument-parser",
    "GRDB": "GRDB", "Logging": "swift-log", "_StringProcessing": "Swift standard library",
    "_Concurrency": "Swift runtime", "Synchronization": "Swift standard library", "Dispatch": "libdispatch",
    "DequeModule": "swift-collections", "OrderedCollections": "swift-collections",
}


def module_of(symbol):
    found = re.match(r"\$[sS](?:\d+|S|s)?", symbol)
    if symbol.startswith(("$s", "$S", "_$s")):
        name = symbol.lstrip("_")[2:]
        number = re.match(r"(\d+)", name)
        if number:
            start = number.end()
            module = name[start:start + int(number.group(1))]
            if module.startswith(OURS):
                return "Cygnet's own code"
            return MODULES.get(module, module)
        return "Swift standard library"
    if symbol.startswith("symbolic ") or symbol.startswith("_symbolic"):
        return "Swift metadata"
    for pattern, name in C_PREFIXES:
        if pattern.match(symbol):
            return name
    return "other C and C++ (libc, libdispatch, runtime)"


def symbols(program):
    listing = subprocess.run(["nm", "-n", "-S", "--defined-only", program], capture_output=True, text=True, check=True)
    result = []
    for line in listing.stdout.split("\n"):
        parts = line.split(" ", 3)
        if len(parts) == 4 and parts[2].lower() in "trdbvwu":
            result.append((int(parts[0], 16), int(parts[1], 16), parts[3]))
    return result


def sections(program):
    listing = subprocess.run(["readelf", "-SW", program], capture_output=True, text=True, check=True).stdout
    result = []
    for found in re.finditer(r"\]\s+(\S+)\s+\S+\s+([0-9a-f]{16})\s+[0-9a-f]+\s+([0-9a-f]+)", listing):
        address, size = int(found[2], 16), int(found[3], 16)
        if address:
            result.append((address, size, found[1]))
    return sorted(result)


def segments(program):
    """(file offset, size in file, address) of each loaded segment."""
    listing = subprocess.run(["readelf", "-lW", program], capture_output=True, text=True, check=True).stdout
    return [(int(f[1], 16), int(f[3], 16), int(f[2], 16)) for f in
            re.finditer(r"LOAD\s+0x([0-9a-f]+) 0x([0-9a-f]+) 0x[0-9a-f]+ 0x([0-9a-f]+)", listing)]


def measure(pid, program):
    table = symbols(program)
    starts = [entry[0] for entry in table]
    parts = sections(program)
    loads = segments(program)
    totals, rest = collections.Counter(), collections.Counter()
    base = None
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/pagemap", "rb") as pagemap:
        for line in maps:
            fields = line.split(None, 5)
            low, high = (int(part, 16) for part in fields[0].split("-"))
            offset, name = int(fields[2], 16), fields[5].strip() if len(fields) > 5 else "anonymous (heap of the allocator)"
            if name == "[vsyscall]":
                continue
            pagemap.seek(low // PAGE * 8)
            present = [bool(struct.unpack_from("<Q", data)[0] >> 63)
                       for data in [pagemap.read(8) for _ in range((high - low) // PAGE)] if len(data) == 8]
            of_program = name.split("/")[-1].split(" ")[0] == program.split("/")[-1]
            if not of_program:
                rest[name if not name.startswith("/") else "shared libraries"] += sum(present) * PAGE
                continue
            for index, here in enumerate(present):
                if not here:
                    continue
                at = offset + index * PAGE
                segment = next((s for s in loads if s[0] // PAGE * PAGE <= at < s[0] + s[1]), None)
                if segment is None:
                    rest["program: zeroed data"] += PAGE
                    continue
                address = at - segment[0] + segment[2]
                left = PAGE
                place = bisect.bisect_right(starts, address) - 1
                for start, size, symbol in table[max(0, place - 4):bisect.bisect_left(starts, address + PAGE)]:
                    shared = min(address + PAGE, start + size) - max(address, start)
                    if shared > 0:
                        shared = min(shared, left)
                        totals[module_of(symbol)] += shared
                        left -= shared
                if left:
                    section = next((s[2] for s in reversed(parts) if s[0] <= address + PAGE - 1), "?")
                    totals[f"no symbol, section {section}"] += left
    for heading, counter in (("pages of the program", totals), ("other mappings", rest)):
        print(f"{heading}: {sum(counter.values()) / 2**20:.1f} MB")
        for name, size in counter.most_common(24):
            print(f"  {size / 2**20:6.2f} MB  {name}")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with Scenario("memory") as scenario:
        server = Server(scenario, log_level="WARN").start()
        agent = Agent(scenario, server, log_level="WARN").start()
        time.sleep(5)
        for daemon in (server.daemon, agent.daemon):
            program = daemon.argv[0]
            print(f"\n{os.path.basename(program)}")
            measure(daemon.pid, program)


if __name__ == "__main__":
    main()
