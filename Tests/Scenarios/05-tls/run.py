"""The TCP port under openssl, foreign certificates and garbage."""
import datetime
import os
import random
import socket
import ssl
import time

import grpc
import leaves
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from harness import Server, attest, certificates, main, protos, run
from harness.streams import code_of
from harness.tunnel import Tunnel

PEM = serialization.Encoding.PEM


def forge(s, name, spiffe_id, issuer=None, issuer_key=None, hours=1, ca=False):
    """A certificate of an authority that the server does not know, with its key, as files."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.timezone.utc)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, name)])
    builder = (
        x509.CertificateBuilder().subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=2))
        .not_valid_after(now + datetime.timedelta(hours=hours))
        .add_extension(x509.BasicConstraints(ca, None), True)
        .add_extension(x509.KeyUsage(
            not ca, False, False, False, False, ca, ca, False, False), True)
        .add_extension(x509.SubjectAlternativeName(
            [x509.UniformResourceIdentifier(spiffe_id)]), False))
    certificate = builder.sign(issuer_key or key, hashes.SHA256())
    with open(s.path("forged", f"{name}.pem"), "wb") as file:
        file.write(certificate.public_bytes(PEM))
    with open(s.path("forged", f"{name}.key"), "wb") as file:
        file.write(attest.key_pem(key))
    return certificate, key


def s_client(server, *words, wait=0.0):
    """Runs openssl s_client; keeps the connection open for a moment so that tickets can arrive."""
    return run(["sh", "-c", 'sleep "$0" | exec "$@"', str(wait), "openssl", "s_client", "-connect",
                f"127.0.0.1:{server.port}", *words], timeout=20)


def body(s):
    server = Server(s).start()
    bundle = s.path("bundle.pem")
    with open(bundle, "w", encoding="utf-8") as file:
        file.write(server.bundle_pem())
    handshake(s, server, bundle)
    foreign(s, server)
    leaves.check(s, server)
    callers(s, server)
    garbage(s, server)


def handshake(s, server, bundle):
    with s.check("openssl sees TLS 1.3, h2, a chain that verifies and the server's SPIFFE ID"):
        done = s_client(server, "-alpn", "h2", "-CAfile", bundle, "-verify_return_error",
                        "-showcerts")
        assert "Verify return code: 0 (ok)" in done.stdout, done.stdout[-1500:] + done.stderr
        assert "TLSv1.3" in done.stdout and "ALPN protocol: h2" in done.stdout, done.stdout
        leaf = x509.load_pem_x509_certificates(done.stdout.encode())[0]
        certificates.check_leaf(leaf, server.id("spire/server"))
        assert certificates.dns_sans(leaf) == [], "the server SVID has a DNS name"

    with s.check("older protocol versions are refused"):
        for version in ("-tls1_2", "-tls1_1", "-tls1"):
            done = s_client(server, version, "-alpn", "h2")
            # openssl says "Verify return code: 0" of a handshake that never came about, too.
            assert "Cipher is (NONE)" in done.stdout and "BEGIN CERTIFICATE" not in done.stdout, (
                version + done.stdout)

    with s.check("without h2 there is no conversation"):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["http/1.1"])
        answer = b""
        try:
            with socket.create_connection(("127.0.0.1", server.port), timeout=5) as raw:
                with context.wrap_socket(raw) as tls:
                    tls.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                    answer = tls.recv(4096)
        except OSError:
            pass
        assert b"200" not in answer, answer

    with s.check("TRAP-12: sessions are not resumed, with or without a client certificate"):
        node = attest.NodeIdentity(s, server, "resumer")
        own = ["-cert", node.certificate_file, "-key", node.key_file]
        for name, words in (("anonymous", []), ("agent", own)):
            session = s.path(f"{name}.session")
            done = s_client(server, "-alpn", "h2", "-sess_out", session, *words, wait=1.0)
            assert "Reused" not in done.stdout
            if not os.path.exists(session) or os.path.getsize(session) == 0:
                continue  # no ticket, nothing to resume
            for others in ([], own):
                done = s_client(server, "-alpn", "h2", "-sess_in", session, *others, wait=0.5)
                assert "New, TLSv1.3" in done.stdout and "Reused" not in done.stdout, (
                    f"{name}: {done.stdout[-800:]}")


def foreign(s, server):
    root, root_key = forge(s, "foreign-root", "spiffe://example.org", ca=True)
    agent_id = server.id("spire/agent/join_token/00000000-0000-0000-0000-000000000000")
    forge(s, "foreign-agent", agent_id, root, root_key)
    forge(s, "self-signed", server.id("spire/server"))
    forge(s, "other-domain", "spiffe://elsewhere.org/x", root, root_key)
    forge(s, "no-path", "spiffe://example.org", root, root_key)
    forge(s, "expired", agent_id, root, root_key, hours=-1)

    def refused(certificate, key):
        """Whether a call with this certificate fails before a handler sees it."""
        tunnel = Tunnel(s, server, certificate, key)
        channel = tunnel.channel()
        bundles = protos.messages(protos.BUNDLE)
        code, _ = code_of(protos.stub(protos.BUNDLE, channel).GetBundle,
                          bundles.GetBundleRequest(), timeout=8)
        channel.close()
        return code == grpc.StatusCode.UNAVAILABLE

    with s.check("ID-25: client certificates of a foreign authority fail the handshake"):
        for name in ("foreign-agent", "self-signed", "other-domain", "no-path", "expired"):
            files = [s.path("forged", f"{name}.{end}") for end in ("pem", "key")]
            assert refused(*files), f"{name} was let in"

    with s.check("an SVID whose key the client lacks is refused"):
        node = attest.NodeIdentity(s, server, "stolen")
        other = s.path("forged", "other.key")
        with open(other, "wb") as file:
            file.write(attest.key_pem(attest.new_key()))
        try:
            accepted = not refused(node.certificate_file, other)
        except ssl.SSLError:
            accepted = False  # Python itself refuses the pair
        assert not accepted

    with s.check("and an honest client is served afterwards"):
        honest(server, s)


def honest(server, s):
    tunnel = attest.shared_tunnel(server, s)
    channel = tunnel.channel()
    bundle = protos.stub(protos.BUNDLE, channel).GetBundle(
        protos.messages(protos.BUNDLE).GetBundleRequest(), timeout=10)
    channel.close()
    assert bundle.trust_domain == "example.org"


def callers(s, server):
    m = protos.messages(protos.ENTRY)
    denied, ok = grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.OK

    def codes(channel):
        entry = protos.stub(protos.ENTRY, channel)
        agents = protos.messages(protos.AGENT)
        svid = protos.messages(protos.SVID)
        return {
            "list": code_of(entry.ListEntries, m.ListEntriesRequest(), timeout=10)[0],
            "authorized": code_of(entry.GetAuthorizedEntries, m.GetAuthorizedEntriesRequest(),
                                  timeout=10)[0],
            "token": code_of(protos.stub(protos.AGENT, channel).CreateJoinToken,
                             agents.CreateJoinTokenRequest(ttl=60), timeout=10)[0],
            "mint": code_of(protos.stub(protos.SVID, channel).MintJWTSVID, svid.MintJWTSVIDRequest(
                id=protos.types("spiffeid").SPIFFEID(trust_domain="example.org", path="/x"),
                audience=["a"]), timeout=10)[0],
        }

    with s.check("a caller without a certificate may do nothing but fetch the bundle"):
        channel = attest.shared_tunnel(server, s).channel()
        found = codes(channel)
        assert set(found.values()) == {denied}, found
        health = protos.messages(protos.HEALTH)
        code, _ = code_of(protos.stub(protos.HEALTH, channel).Check, health.HealthCheckRequest(),
                          timeout=10)
        assert code == grpc.StatusCode.UNIMPLEMENTED, f"health on TCP: {code}"
        channel.close()

    with s.check("an agent may ask for its entries, not administer"):
        node = attest.NodeIdentity(s, server, "plain-node")
        found = codes(node.channel())
        assert found["authorized"] == ok, found
        assert [found[name] for name in ("list", "token", "mint")] == [denied] * 3, found

    with s.check("a workload SVID is not an agent; with an admin entry it administers"):
        folder = os.path.dirname(s.path("minted", "x"))
        server.ok("x509", "mint", "-spiffeID", server.id("operator"), "-write", folder)
        tunnel = Tunnel(s, server, f"{folder}/svid.pem", f"{folder}/key.pem")
        found = codes(tunnel.channel())
        assert set(found.values()) == {denied}, found
        server.create_entry("operator", node.id, ["unix:uid:1"], "-admin")
        time.sleep(0.5)
        found = codes(tunnel.channel())
        assert [found[name] for name in ("list", "token", "mint")] == [ok] * 3, found
        assert found["authorized"] == denied, found

    with s.check("a banned agent is refused at once, on its open connection too"):
        channel = node.channel()
        assert codes(channel)["authorized"] == ok
        server.ok("agent", "ban", "-spiffeID", node.id)
        time.sleep(0.5)
        assert codes(channel)["authorized"] == denied
        server.ok("agent", "evict", "-spiffeID", node.id)
        assert codes(channel)["authorized"] == denied


def garbage(s, server):
    noise = random.Random(3)
    inputs = {
        "random bytes": noise.randbytes(8192),
        "plain HTTP": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "an HTTP/2 preface without TLS": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
        "half a client hello": bytes.fromhex("16030101000100"),
        "a huge TLS record": bytes.fromhex("160301ffff") + bytes(65535),
        "nothing at all": b"",
    }
    with s.check("garbage on the TCP port harms nobody else"):
        for name, data in inputs.items():
            with socket.create_connection(("127.0.0.1", server.port), timeout=3) as raw:
                try:
                    raw.sendall(data)
                    raw.shutdown(socket.SHUT_WR)
                    while raw.recv(65536):
                        pass
                except OSError:
                    pass
            honest(server, s)
            assert server.daemon.alive, name

    with s.check("plain HTTP gets no HTTP answer"):
        done = run(["curl", "-s", "-m", "5", f"http://127.0.0.1:{server.port}/"])
        assert done.returncode != 0, done.stdout[:200]
        done = run(["curl", "-sk", "-m", "5", f"https://127.0.0.1:{server.port}/"])
        assert "200 OK" not in done.stdout

    with s.check("fifty silent connections harm nobody else"):
        silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(50)]
        honest(server, s)
        for raw in silent:
            raw.close()


main(__file__, body)
