#!/usr/bin/env python3
"""The analyzer of the smart city: an ordinary Python program with the stock `spiffe` package.

    analyzer.py --listen HOST:PORT --allow SPIFFE-ID --action HOST:PORT --expect SPIFFE-ID

Accepts exactly one peer, judges its readings, and asks the action agent to act on a high one.
"""
import argparse
import json
import os
import signal
import socket
import ssl
import sys
import tempfile
import threading

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from spiffe import TrustDomain, X509Source

import statement

LIMIT = 50.0  # readings above it are an alarm
COMMANDS = {"water": "close-valve"}  # by kind of sensor; of all others it is close-tunnel
PEM = serialization.Encoding.PEM


def say(text):
    print(f"analyzer: {text}", flush=True)


def address(text):
    host, _, port = text.rpartition(":")
    return host, int(port)


class Refused(Exception):
    """The peer is verified, and not the one we talk to."""


class Identity:
    """Fresh SVID and bundle from the Workload API, turned into TLS contexts."""

    def __init__(self):
        self.source = X509Source(timeout_in_seconds=10)

    @property
    def id(self):
        return str(self.source.get_x509_context().default_svid.spiffe_id)

    def tls(self, side, domain):
        """A TLS 1.3 context with the SVID and the bundle of this moment; verifies the chain."""
        now = self.source.get_x509_context()
        svid, bundle = now.default_svid, now.x509_bundle_set.get_bundle_for_trust_domain(
            TrustDomain(domain))
        context = ssl.SSLContext(side)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False  # the peer is known by its SPIFFE ID; see verified()
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata="".join(
            root.public_bytes(PEM).decode() for root in bundle.x509_authorities))
        # Python's ssl takes keys from files only; this one is ours alone and gone in a moment.
        with tempfile.NamedTemporaryFile() as file:
            for certificate in svid.cert_chain:
                file.write(certificate.public_bytes(PEM))
            file.write(svid.private_key.private_bytes(
                PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
            file.flush()
            context.load_cert_chain(file.name)
        return context

    @staticmethod
    def verified(tls, expected):
        """The peer's SPIFFE ID; raises when it is not exactly the expected one."""
        leaf = x509.load_der_x509_certificate(tls.getpeercert(binary_form=True))
        names = leaf.extensions.get_extension_for_class(
            x509.SubjectAlternativeName).value.get_values_for_type(x509.UniformResourceIdentifier)
        if names != [expected]:
            raise Refused(f"{' '.join(names) or 'a peer without a SPIFFE ID'}: only {expected} "
                          "may talk to me")
        return names[0]


class Analyzer:
    def __init__(self, options):
        self.options = options
        self.domain = options.allow.split("/")[2]
        self.identity = Identity()
        say(f"I am {self.identity.id}")

    def run(self):
        listener = socket.create_server(address(self.options.listen))
        say(f"listening on {self.options.listen}")
        while True:
            raw, _ = listener.accept()
            threading.Thread(target=self.serve, args=(raw,), daemon=True).start()

    def serve(self, raw):
        raw.settimeout(20)
        try:
            context = self.identity.tls(ssl.PROTOCOL_TLS_SERVER, self.domain)
            with context.wrap_socket(raw, server_side=True) as tls:
                peer = self.identity.verified(tls, self.options.allow)
                say(f"accepted {peer}")
                leaf = tls.getpeercert(binary_form=True)
                for line in tls.makefile("r", encoding="utf-8"):
                    message = json.loads(line)
                    answer = (self.countersign(message["statement"], leaf)
                              if "statement" in message else self.judge(message))
                    tls.sendall((json.dumps(answer) + "\n").encode())
        except Refused as reason:
            say(f"refused {reason}")
        except ssl.SSLError as reason:
            say(f"refused a caller: {self.plain(reason)}")
        except statement.Invalid as reason:
            say(f"refused a statement: {reason}")
        except (OSError, ValueError) as reason:
            say(f"lost a caller: {reason}")
        finally:
            raw.close()

    @staticmethod
    def plain(reason):
        """OpenSSL's reason in words."""
        text = str(reason)
        if "WRONG_VERSION_NUMBER" in text or "HTTP_REQUEST" in text or "packet length" in text:
            return f"it does not speak TLS ({reason.reason})"
        if "CERTIFICATE_VERIFY_FAILED" in text:
            return f"its certificate was not issued in this trust domain ({reason.verify_message})"
        if "PEER_DID_NOT_RETURN_A_CERTIFICATE" in text:
            return "it shows no certificate"
        return text

    def judge(self, message):
        if float(message["reading"]) <= LIMIT:
            return {"verdict": "normal"}
        self.act(message)
        return {"verdict": "alarm"}

    def act(self, message):
        """Asks the action agent, over a connection verified in both directions."""
        with socket.create_connection(address(self.options.action), timeout=10) as raw:
            context = self.identity.tls(ssl.PROTOCOL_TLS_CLIENT, self.domain)
            with context.wrap_socket(raw) as tls:
                self.identity.verified(tls, self.options.expect)
                action = COMMANDS.get(message["sensor"].split("-")[0], "close-tunnel")
                command = {"action": action,
                           "reason": f"{message['sensor']} reads {message['reading']}"}
                answers = tls.makefile("r", encoding="utf-8")
                if "txn" in message:
                    command["txn"] = message["txn"]
                    self.state(tls, answers, command)
                tls.sendall((json.dumps(command) + "\n").encode())
                answer = json.loads(answers.readline())
                say(f"asked {self.options.expect} to {command['action']}: "
                    f"{'done' if answer.get('done') else answer}")

    def countersign(self, token, leaf):
        """A receipt for what the caller says it does towards us; it was signed with the key of this connection."""
        now = self.identity.source.get_x509_context().default_svid
        claims = statement.claims_of(token, statement.STATEMENT, leaf)
        if claims.get("peer") != str(now.spiffe_id):
            raise statement.Invalid("it is about somebody else")
        return {"receipt": statement.receipt(token, now.cert_chain, now.private_key)}

    def state(self, tls, answers, command):
        """Has the order on record, countersigned, before it is given."""
        now = self.identity.source.get_x509_context().default_svid
        token = statement.statement(
            f"order-{command['action']}", command["txn"], self.options.expect, now.cert_chain,
            now.private_key, details=command["reason"])
        tls.sendall((json.dumps({"statement": token}) + "\n").encode())
        receipt = json.loads(answers.readline())["receipt"]
        claims = statement.claims_of(receipt, statement.RECEIPT, tls.getpeercert(binary_form=True))
        if claims.get("stm") != statement.b64(statement.digest(token)):
            raise statement.Invalid("the receipt is for another statement")
        statement.record(token, receipt)
        say(f"recorded order-{command['action']} of {command['txn']}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("listen", "allow", "action", "expect"):
        parser.add_argument(f"--{name}", required=True)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    try:
        Analyzer(parser.parse_args()).run()
    except Exception as failure:  # the example's edge: say it and end
        print(f"error: {failure}", file=sys.stderr, flush=True)
        sys.exit(3 if "identity" in str(failure).lower() else 1)


if __name__ == "__main__":
    main()
