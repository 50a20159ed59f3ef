"""The Python end of the SDK's scenario: stock `spiffe`, ssl and grpcio.

    sdk_counterpart.py listen ADDRESS PORT PEER_ID      one mTLS connection, echoed
    sdk_counterpart.py connect ADDRESS PORT PEER_ID     sends a line over mTLS
    sdk_counterpart.py grpc-serve ADDRESS PORT          interop.Echo/WhoAmI over mTLS
    sdk_counterpart.py grpc-call ADDRESS PORT           the same as a client

Prints one JSON object a line.
"""
import json
import socket
import ssl
import sys
import tempfile
import threading
from concurrent import futures

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from spiffe import X509Source

PEM = serialization.Encoding.PEM


def say(**members):
    print(json.dumps(members), flush=True)


class Identity:
    def __init__(self, address):
        context = X509Source(socket_path=address, timeout_in_seconds=20).get_x509_context()
        svid = context.default_svid
        bundle = context.x509_bundle_set.get_bundle_for_trust_domain(svid.spiffe_id.trust_domain)
        self.chain = b"".join(one.public_bytes(PEM) for one in svid.cert_chain)
        self.key = svid.private_key.private_bytes(
            PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        self.roots = b"".join(one.public_bytes(PEM) for one in bundle.x509_authorities)

    def context(self, side):
        context = ssl.SSLContext(side)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        with tempfile.NamedTemporaryFile() as file:
            file.write(self.chain + self.key)
            file.flush()
            context.load_cert_chain(file.name)
        context.load_verify_locations(cadata=self.roots.decode())
        return context


def peer_of(der):
    names = x509.load_der_x509_certificate(der).extensions.get_extension_for_class(
        x509.SubjectAlternativeName).value
    (name,) = names.get_values_for_type(x509.UniformResourceIdentifier)
    return name


def listen(identity, port, peer_id):
    with socket.create_server(("127.0.0.1", port)) as listener:
        say(listening=port)
        while True:
            raw, _ = listener.accept()
            try:
                raw.settimeout(20)
                with identity.context(ssl.PROTOCOL_TLS_SERVER).wrap_socket(
                        raw, server_side=True) as tls:
                    peer = peer_of(tls.getpeercert(binary_form=True))
                    say(peer=peer)
                    if peer != peer_id:
                        continue
                    while data := tls.recv(4096):
                        tls.sendall(data)
            except OSError as failure:
                say(failure=str(failure))


def connect(identity, port, peer_id):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as raw:
            with identity.context(ssl.PROTOCOL_TLS_CLIENT).wrap_socket(raw) as tls:
                peer = peer_of(tls.getpeercert(binary_form=True))
                assert peer == peer_id, peer
                tls.sendall(b"ping\n")
                say(peer=peer, answer=tls.recv(4096).decode(), version=tls.version())
    except OSError as failure:
        say(failure=str(failure))


def grpc_serve(identity, port):
    def who_am_i(_, context):
        names = [name.decode() for name in context.peer_identities() or []]
        header = dict(context.invocation_metadata()).get("authorization", "")
        say(peers=names, authorization=header)
        return ",".join(names).encode()

    server = grpc.server(futures.ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(
        "interop.Echo", {"WhoAmI": grpc.unary_unary_rpc_method_handler(who_am_i)})])
    server.add_secure_port(f"127.0.0.1:{port}", grpc.ssl_server_credentials(
        [(identity.key, identity.chain)], identity.roots, require_client_auth=True))
    server.start()
    say(listening=port)
    threading.Event().wait()


def grpc_call(identity, port):
    # grpcio insists on a host name; the server's SVID has one beside its SPIFFE ID.
    channel = grpc.secure_channel(
        f"127.0.0.1:{port}",
        grpc.ssl_channel_credentials(identity.roots, identity.key, identity.chain),
        options=[("grpc.ssl_target_name_override", "peer.example.org")])
    try:
        answer = channel.unary_unary("/interop.Echo/WhoAmI")(b"who am I", timeout=20)
        say(answer=answer.decode())
    except grpc.RpcError as failure:
        say(code=failure.code().name)


if __name__ == "__main__":
    command, address, port, *rest = sys.argv[1:]
    action = {"listen": listen, "connect": connect, "grpc-serve": grpc_serve,
              "grpc-call": grpc_call}[command]
    action(Identity(address), int(port), *rest)
