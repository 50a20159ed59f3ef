"""Plain `grpcio` with stubs made from this repository's Protos/, for a process with its own identity.

    plain_grpc.py ADDRESS fetch-x509              one message
    plain_grpc.py ADDRESS fetch-jwt AUDIENCE [ID]
    plain_grpc.py ADDRESS validate AUDIENCE TOKEN
    plain_grpc.py ADDRESS watch-x509              one line per message, until it is ended
    plain_grpc.py ADDRESS record STATEMENT [RECEIPT]   for the ledger
    plain_grpc.py ADDRESS serials SECONDS         the serial numbers seen on a stream

Prints JSON; a refusal is {"code": "PERMISSION_DENIED", "details": "…"}.
"""
import base64
import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.environ["CYGNET_ROOT"], "Tests", "Scenarios"))

import grpc  # noqa: E402
from cryptography import x509  # noqa: E402
from harness import protos  # noqa: E402


def connect(address, service=protos.WORKLOAD_API):
    channel = grpc.insecure_channel(
        address.replace("unix://", "unix:"), options=[("grpc.default_authority", "localhost")])
    return protos.stub(service, channel)


def encode(data):
    return base64.b64encode(data).decode()


def x509_message(message):
    return {
        "time": time.time(),
        "svids": [
            {"id": svid.spiffe_id, "hint": svid.hint, "chain": encode(svid.x509_svid),
             "key": encode(svid.x509_svid_key), "bundle": encode(svid.bundle),
             "serial": format(x509.load_der_x509_certificate(
                 first_der(svid.x509_svid)).serial_number, "x")}
            for svid in message.svids],
        "federated": {key: encode(value) for key, value in message.federated_bundles.items()},
    }


def first_der(data):
    """The first of several DER certificates that stand back to back."""
    length, header = data[1], 2
    if length & 0x80:
        count = length & 0x7F
        length, header = int.from_bytes(data[2:2 + count], "big"), 2 + count
    return data[:header + length]


def show(value):
    print(json.dumps(value), flush=True)


def main(address, command, *arguments):
    api = connect(address)
    messages = protos.messages(protos.WORKLOAD_API)
    try:
        if command == "fetch-x509":
            call = api.FetchX509SVID(
                messages.X509SVIDRequest(), metadata=protos.HEADER, timeout=15)
            show(x509_message(next(call)))
            call.cancel()
        elif command == "fetch-jwt":
            audience, *rest = arguments
            answer = api.FetchJWTSVID(
                messages.JWTSVIDRequest(
                    audience=[audience], spiffe_id=rest[0] if rest else ""),
                metadata=protos.HEADER, timeout=15)
            show([{"id": svid.spiffe_id, "token": svid.svid} for svid in answer.svids])
        elif command == "validate":
            audience, token = arguments
            answer = api.ValidateJWTSVID(
                messages.ValidateJWTSVIDRequest(audience=audience, svid=token),
                metadata=protos.HEADER, timeout=15)
            show({"id": answer.spiffe_id})
        elif command == "watch-x509":
            for message in api.FetchX509SVID(
                    messages.X509SVIDRequest(), metadata=protos.HEADER):
                show(x509_message(message))
        elif command == "record":
            statement, *rest = arguments
            answer = connect(address, protos.CUSTODY).Record(
                protos.messages(protos.CUSTODY).RecordCustodyRequest(
                    statement=statement, receipt=rest[0] if rest else ""),
                metadata=protos.HEADER, timeout=15)
            show({"digest": answer.statement_digest.hex()})
        elif command == "serials":
            seen = []
            try:
                for message in api.FetchX509SVID(
                        messages.X509SVIDRequest(), metadata=protos.HEADER,
                        timeout=float(arguments[0])):
                    seen += [svid["serial"] for svid in x509_message(message)["svids"]]
            except grpc.RpcError as error:
                if error.code() not in (
                        grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE):
                    raise
            show(seen)
        else:
            raise SystemExit(f"unknown command {command}")
    except grpc.RpcError as error:
        show({"code": error.code().name, "details": error.details()})


if __name__ == "__main__":
    main(*sys.argv[1:])
