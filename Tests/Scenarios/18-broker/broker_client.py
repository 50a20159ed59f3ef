"""A broker made of grpcio and stubs: its certificate, its calls, and the details of refusals."""
import os
import subprocess

import grpc
from cryptography.hazmat.primitives import serialization
from google.protobuf import any_pb2
from harness import protos, wait_until
from harness.certificates import load_chain, pem
from harness.streams import Watch
from harness.tunnel import Tunnel

API = "spiffe.broker.API"
HEADER = (("broker.spiffe.io", "true"),)
PID_TYPE = "type.googleapis.com/spiffe.broker.WorkloadPIDReference"
DETAILS = "grpc-status-details-bin"


def messages():
    return protos.messages(API)


def reference(pid):
    packed = messages().WorkloadPIDReference(pid=pid).SerializeToString()
    return raw_reference(PID_TYPE, packed)


def raw_reference(type_url, value):
    return messages().WorkloadReference(reference=any_pb2.Any(type_url=type_url, value=value))


def fields(data):
    """The length-delimited and varint fields of a message, as (number, value)."""
    found, at = [], 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value
    while at < len(data):
        key = varint()
        if key & 7 == 0:
            found.append((key >> 3, varint()))
        else:
            assert key & 7 == 2, key
            length = varint()
            found.append((key >> 3, data[at:at + length]))
            at += length
    return found


class Refusal:
    """How a call ended: status code, text, and google.rpc.ErrorInfo if there was one."""

    def __init__(self, error):
        self.code = error.code()
        self.text = error.details() or ""
        self.reason = self.domain = None
        self.metadata = {}
        for key, value in error.trailing_metadata() or ():
            if key == DETAILS:
                self._read(value)

    def _read(self, data):
        status = fields(data)
        assert (1, self.code.value[0]) in status, "the code in the details is another one"
        assert (2, self.text.encode()) in status, "the text in the details is another one"
        for number, detail in status:
            if number != 3:
                continue
            packed = any_pb2.Any.FromString(detail)
            assert packed.type_url == "type.googleapis.com/google.rpc.ErrorInfo", packed.type_url
            for number, value in fields(packed.value):
                if number == 1:
                    self.reason = value.decode()
                elif number == 2:
                    self.domain = value.decode()
                else:
                    entry = dict(fields(value))
                    self.metadata[entry[1].decode()] = entry[2].decode()

    def __repr__(self):
        return f"{self.code.name} {self.reason} {self.metadata} {self.text!r}"


class Identity:
    """An X509-SVID of the test's own process in files, picked by its hint."""

    def __init__(self, s, agent, hint):
        self.certificate_file = s.path("identities", hint, "svid.pem")
        self.key_file = s.path("identities", hint, "key.pem")
        request = protos.messages(protos.WORKLOAD_API).X509SVIDRequest()

        def fetched():
            try:
                stream = agent.workload_api().FetchX509SVID(request, metadata=protos.HEADER, timeout=10)
                message = next(stream)
                stream.cancel()
            except grpc.RpcError:
                return None
            return next((svid for svid in message.svids if svid.hint == hint), None)
        svid = wait_until(f"the identity {hint}", fetched, 20)
        self.id = svid.spiffe_id
        with open(self.certificate_file, "w", encoding="ascii") as file:
            file.write("".join(pem(certificate) for certificate in load_chain(svid.x509_svid)))
        key = serialization.load_der_private_key(svid.x509_svid_key, None)
        with open(self.key_file, "wb") as file:
            file.write(key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption()))


class Broker:
    """A client of the Broker API with an identity, over a Unix socket or TCP; checks the agent's SPIFFE ID."""

    def __init__(self, s, server, agent, identity, **place):
        self.tunnel = Tunnel(
            s, server, identity.certificate_file, identity.key_file, expected=agent.id, **place)
        self.channel = self.tunnel.channel()
        s.at_end(self.channel.close)
        self.stub = protos.stub(API, self.channel)

    def x509(self, pid, **options):
        options.setdefault("metadata", HEADER)
        request = messages().SubscribeToX509SVIDRequest(reference=reference(pid))
        return self.stub.SubscribeToX509SVID(request, **options)

    def watch(self, pid):
        return Watch(self.x509(pid))

    def jwt(self, pid, audience, spiffe_id="", **options):
        options.setdefault("metadata", HEADER)
        request = messages().FetchJWTSVIDRequest(
            reference=reference(pid), audience=audience, spiffe_id=spiffe_id)
        return self.stub.FetchJWTSVID(request, timeout=20, **options)

    def ids(self, pid):
        """The identities of a workload, once."""
        stream = self.x509(pid, timeout=20)
        message = next(stream)
        stream.cancel()
        return [svid.spiffe_id for svid in message.svids]

    def all_methods(self, workload, **options):
        """A call of each method about the workload of a reference."""
        m = messages()
        options.setdefault("metadata", HEADER)
        options["timeout"] = 20
        return {
            "SubscribeToX509SVID": lambda: next(self.stub.SubscribeToX509SVID(
                m.SubscribeToX509SVIDRequest(reference=workload), **options)),
            "SubscribeToX509Bundles": lambda: next(self.stub.SubscribeToX509Bundles(
                m.SubscribeToX509BundlesRequest(reference=workload), **options)),
            "SubscribeToJWTBundles": lambda: next(self.stub.SubscribeToJWTBundles(
                m.SubscribeToJWTBundlesRequest(reference=workload), **options)),
            "FetchJWTSVID": lambda: self.stub.FetchJWTSVID(
                m.FetchJWTSVIDRequest(reference=workload, audience=["x"]), **options),
        }


def refusal(call):
    """How a call that must fail did."""
    try:
        call()
    except grpc.RpcError as error:
        return Refusal(error)
    except StopIteration:
        raise AssertionError("the stream ended without a message or an error") from None
    raise AssertionError("the call was answered")


def sleeper(s, workload):
    """A process of the workload that does nothing; settled when it returns."""
    process = workload.popen(
        [workload.interpreter, "-c", "import time; time.sleep(600)"], stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    program = os.path.realpath(workload.interpreter)
    wait_until("the workload runs", lambda: os.readlink(f"/proc/{process.pid}/exe") == program)
    return process
