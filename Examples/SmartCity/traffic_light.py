#!/usr/bin/env python3
"""A traffic light that asks the grid for its load, over a new connection each time.

    traffic_light.py --connect HOST:PORT --expect SPIFFE-ID [--count N] [--trusting]

Without --count it goes on until SIGTERM. The last line says how often it asked and how often that failed; the exit code is
0 when nothing failed, 2 otherwise. --trusting leaves the other side unverified, as somebody would who was given no bundle.
"""
import argparse
import json
import signal
import socket
import ssl
import sys
import time

from analyzer import Identity, Refused, address


def say(text):
    print(f"light: {text}", flush=True)


def context_of(identity, options):
    if not options.trusting:
        return identity.tls(ssl.PROTOCOL_TLS_CLIENT, options.expect.split("/")[2])
    context = identity.tls(ssl.PROTOCOL_TLS_CLIENT, identity.id.split("/")[2])
    context.verify_mode = ssl.CERT_NONE
    return context


def ask(identity, options, hour):
    """The load at that hour; raises when there is no answer."""
    with socket.create_connection(address(options.connect), timeout=10) as raw:
        with context_of(identity, options).wrap_socket(raw) as tls:
            if not options.trusting:
                identity.verified(tls, options.expect)
            tls.sendall((json.dumps({"hour": hour}) + "\n").encode())
            line = tls.makefile("r", encoding="utf-8").readline()
            if not line:
                raise Refused("the other side hung up: it refused us")
            return json.loads(line)["load"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--connect", required=True)
    parser.add_argument("--expect", required=True)
    parser.add_argument("--count", type=int)
    parser.add_argument("--trusting", action="store_true")
    options = parser.parse_args()
    ended = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    try:
        identity = Identity()
        say(f"I am {identity.id}")
    except Exception as failure:  # the example's edge: say it and end
        print(f"error: {failure}", file=sys.stderr, flush=True)
        sys.exit(3 if "identity" in str(failure).lower() else 1)
    asked = failed = 0
    while not ended and (options.count is None or asked < options.count):
        asked += 1
        try:
            load = ask(identity, options, asked)
            if asked == 1:
                say(f"the load is {load} %")
        except Exception as reason:  # whatever it is, it is a call that failed
            failed += 1
            say(f"failed: {reason}")
        time.sleep(0.02)
    say(f"asked {asked} times, {failed} failed")
    sys.exit(0 if asked and not failed else 2)


if __name__ == "__main__":
    main()
