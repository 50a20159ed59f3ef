"""Node attestation by a client that is not an agent: plain grpcio, a join token and a CSR."""
import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from . import protos
from .tunnel import Tunnel


def new_key():
    return ec.generate_private_key(ec.SECP256R1())


def csr_der(key, spiffe_id=None):
    """A signing request for a key; without an ID it has no URI SAN."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    if spiffe_id:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(spiffe_id)]),
            critical=True)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def key_pem(key):
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption())


def request(token, csr, kind="join_token", payload=None):
    m = protos.messages(protos.AGENT)
    types = protos.types("attestation")
    return m.AttestAgentRequest(params=m.AttestAgentRequest.Params(
        data=types.AttestationData(
            type=kind, payload=token.encode() if payload is None else payload),
        params=m.AgentX509SVIDParams(csr=csr)))


def attest(server, scenario, token, csr, tunnel=None, **fields):
    """Attests once; returns the message `AttestAgentResponse.Result`."""
    tunnel = tunnel or shared_tunnel(server, scenario)
    channel = tunnel.channel()
    try:
        stub = protos.stub(protos.AGENT, channel)
        return next(stub.AttestAgent(
            iter([request(token, csr, **fields)]), timeout=20)).result
    finally:
        channel.close()


def shared_tunnel(server, scenario):
    if not getattr(server, "tunnel", None):
        server.tunnel = Tunnel(scenario, server)
    return server.tunnel


def outcome(server, token, csr=None, **fields):
    """None when the attestation is granted, else (code, details)."""
    if csr is None:
        csr = csr_der(new_key())
    try:
        attest(server, server.scenario, token, csr, **fields)
        return None
    except grpc.RpcError as error:
        return error.code(), error.details() or ""
    except StopIteration:
        return grpc.StatusCode.OK, "no message"


def refused(server, token, **fields):
    """The code and text of an attestation that must be refused."""
    result = outcome(server, token, **fields)
    assert result is not None, "the attestation was granted"
    return result


class NodeIdentity:
    """An attested node without an agent: SVID and key in files, and a tunnel that presents them."""

    def __init__(self, scenario, server, name="node"):
        self.token = server.token()
        self.id = server.id(f"spire/agent/join_token/{self.token}")
        self.key = new_key()
        self.svid = attest(server, scenario, self.token, csr_der(self.key)).svid
        self.certificate_file = scenario.path(name, "svid.pem")
        self.key_file = scenario.path(name, "key.pem")
        with open(self.certificate_file, "wb") as file:
            for der in self.svid.cert_chain:
                file.write(x509.load_der_x509_certificate(der).public_bytes(
                    serialization.Encoding.PEM))
        with open(self.key_file, "wb") as file:
            file.write(key_pem(self.key))
        self.tunnel = Tunnel(scenario, server, self.certificate_file, self.key_file)

    def channel(self):
        return self.tunnel.channel()


def serial(der):
    """The serial number of a certificate, as lower-case hex without leading zeros."""
    return format(x509.load_der_x509_certificate(der).serial_number, "x")
