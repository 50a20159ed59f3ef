"""The handshake of the Broker Endpoint, judged by Python's ssl."""
import os
import socket
import ssl
import stat
import subprocess

from harness import wait_until
from harness.certificates import load_chain, uri_sans


def transport(s, server, agent, socket_path, port, mesh, stranger, pid):
    with s.check("BEP-01: the socket has a directory of its own, closed to others"):
        mode = stat.S_IMODE(os.stat(socket_path).st_mode)
        folder = stat.S_IMODE(os.stat(os.path.dirname(socket_path)).st_mode)
        assert (mode, folder) == (0o770, 0o750), (oct(mode), oct(folder))
        assert os.path.dirname(socket_path) != os.path.dirname(agent.socket)

    def connect(context, to_port):
        if to_port:
            plain = socket.create_connection(("127.0.0.1", port), 10)
        else:
            plain = socket.socket(socket.AF_UNIX)
            plain.settimeout(10)
            plain.connect(socket_path)
        return plain if context is None else context.wrap_socket(plain)

    def is_closed(context, to_port):
        """Whether the server hangs up instead of speaking HTTP/2."""
        try:
            with connect(context, to_port) as connection:
                connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
                got = connection.recv(9)
                # In plain text the goodbye is a TLS alert.
                return got == b"" or context is None and got[:1] == b"\x15"
        except (ssl.SSLError, ConnectionError):
            return True

    def context(identity=None, **versions):
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
        made.set_alpn_protocols(["h2"])
        for name, version in versions.items():
            setattr(made, name, version)
        if identity:
            made.load_cert_chain(identity.certificate_file, identity.key_file)
        return made

    with s.check("BEP-05: plaintext, no certificate, a certificate of nobody's and old TLS are hung up on, on both transports"):
        forged = forge(s, mesh.id)
        for to_port in (False, True):
            assert not is_closed(context(mesh), to_port), "a listed broker was hung up on"
            assert is_closed(None, to_port), "plaintext was answered"
            assert is_closed(context(), to_port), "a caller without certificate was let in"
            assert is_closed(context(forged), to_port), "a self-signed certificate was let in"
            old = context(mesh, maximum_version=ssl.TLSVersion.TLSv1_2)
            assert is_closed(old, to_port), "TLS 1.2 was answered"

    with s.check("BEP-09, BRK-22: an identity of the trust domain that is not listed is hung up on"):
        for to_port in (False, True):
            assert is_closed(context(stranger), to_port)
        wait_until("the log says so", lambda: "caller of the Broker API refused" in agent.daemon.log())

    with s.check("BEP-05: a session cannot be resumed to come without a certificate"):
        made = context(mesh)
        first = connect(made, True)
        first.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
        first.recv(9)
        session = first.session
        first.close()
        if session is not None:
            plain = socket.create_connection(("127.0.0.1", port), 10)
            with made.wrap_socket(plain, session=session) as second:
                assert not second.session_reused

    with s.check("BEP-10: what answers is the agent, by its X509-SVID"):
        with connect(context(mesh), True) as connection:
            leaf = load_chain(connection.getpeercert(binary_form=True))[0]
            assert uri_sans(leaf) == [agent.id], uri_sans(leaf)


def forge(s, spiffe_id):
    """A certificate with the right ID that nobody vouches for."""
    class Forged:
        certificate_file = s.path("forged", "svid.pem")
        key_file = s.path("forged", "key.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-subj", "/O=forged", "-addext", f"subjectAltName=URI:{spiffe_id}", "-days", "1",
         "-keyout", Forged.key_file, "-out", Forged.certificate_file],
        check=True, capture_output=True)
    return Forged
