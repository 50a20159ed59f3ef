#!/usr/bin/env python3
"""The grid's load forecaster: answers one agent of another trust domain, and nobody else.

    forecaster.py --listen HOST:PORT --allow SPIFFE-ID

Callers are verified with the bundle of their own trust domain, which the Workload API has because this program's entry
federates with it.
"""
import argparse
import json
import os
import signal
import socket
import ssl
import sys
import threading

from analyzer import Analyzer, Identity, Refused, address


def say(text):
    print(f"forecaster: {text}", flush=True)


def serve(raw, identity, allowed):
    raw.settimeout(20)
    try:
        context = identity.tls(ssl.PROTOCOL_TLS_SERVER, allowed.split("/")[2])
        with context.wrap_socket(raw, server_side=True) as tls:
            peer = identity.verified(tls, allowed)
            for line in tls.makefile("r", encoding="utf-8"):
                hour = int(json.loads(line)["hour"]) % 24
                tls.sendall((json.dumps({"load": 40 + 2 * hour}) + "\n").encode())
                say(f"answered {peer}")
    except Refused as reason:
        say(f"refused {reason}")
    except ssl.SSLError as reason:
        say(f"refused a caller: {Analyzer.plain(reason)}")
    except (OSError, ValueError, KeyError) as reason:
        say(f"lost a caller: {reason}")
    finally:
        raw.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--listen", required=True)
    parser.add_argument("--allow", required=True)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    try:
        identity = Identity()
        say(f"I am {identity.id}")
        listener = socket.create_server(address(options.listen), backlog=128)
        say(f"listening on {options.listen}")
        while True:
            raw, _ = listener.accept()
            threading.Thread(
                target=serve, args=(raw, identity, options.allow), daemon=True).start()
    except Exception as failure:  # the example's edge: say it and end
        print(f"error: {failure}", file=sys.stderr, flush=True)
        sys.exit(3 if "identity" in str(failure).lower() else 1)


if __name__ == "__main__":
    main()
