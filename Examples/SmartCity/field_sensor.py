#!/usr/bin/env python3
"""A sensor in a pump house.

    field_sensor.py [--leak] [--connect HOST:PORT --expect SPIFFE-ID]

Says which identity it has. With --connect it asks the pump to go on. With --leak it prints its certificate and key, as
somebody would who was talked into it.
"""
import argparse
import json
import socket
import ssl
import sys

from analyzer import PEM, Identity, address
from cryptography.hazmat.primitives import serialization


def say(text):
    print(f"field: {text}", flush=True)


def ask(identity, options):
    with socket.create_connection(address(options.connect), timeout=10) as raw:
        context = identity.tls(ssl.PROTOCOL_TLS_CLIENT, options.expect.split("/")[2])
        with context.wrap_socket(raw) as tls:
            identity.verified(tls, options.expect)
            tls.sendall(b'{"action":"go-on","reason":"all is well"}\n')
            answer = json.loads(tls.makefile("r", encoding="utf-8").readline() or "{}")
            say("the pump goes on" if answer.get("done") else "the pump refused")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--connect")
    parser.add_argument("--expect")
    parser.add_argument("--leak", action="store_true")
    options = parser.parse_args()
    try:
        identity = Identity()
        svid = identity.source.get_x509_context().default_svid
        say(f"I am {identity.id} serial {svid.cert_chain[0].serial_number:x}")
        if options.leak:
            print("".join(one.public_bytes(PEM).decode() for one in svid.cert_chain)
                  + svid.private_key.private_bytes(
                      PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode(),
                  flush=True)
        if options.connect:
            ask(identity, options)
    except Exception as failure:  # the example's edge: say it and end
        print(f"error: {failure}", file=sys.stderr, flush=True)
        sys.exit(3 if "identity" in str(failure).lower() else 1)


if __name__ == "__main__":
    main()
