"""The bundle endpoint in both profiles under curl, openssl and Python's ssl."""
import json
import socket
import ssl

from cryptography import x509
from harness import Server, certificates, main, run
from harness.process import free_port, wait_until
from harness.webcert import WebAuthority


def endpoint(port, profile, settings=None):
    return {"bundle_endpoint": {
        "address": "127.0.0.1", "port": port, "refresh_hint": "10m",
        f'profile "{profile}"': settings or {}}}


def curl(port, *options, path="/", host="127.0.0.1"):
    """(HTTP status, head, body)."""
    done = run(["curl", "-sS", "-i", "-m", "10", *options, f"https://{host}:{port}{path}"], timeout=30)
    head, _, text = done.stdout.partition("\n\n")
    code = int(head.split()[1]) if head.startswith("HTTP/") else 0
    return code, head.lower(), text


def chain(port, root):
    """The server's certificate, verified against the bundle; the host name plays no part."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(root)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
        with context.wrap_socket(plain) as secure:
            return x509.load_der_x509_certificate(secure.getpeercert(True)), secure.version()


def document(s, server, port, *trust, host="127.0.0.1"):
    with s.check("FED-11, FED-12, FED-14: anybody gets what bundle show says, as JSON"):
        code, head, text = curl(port, *trust, host=host)
        assert code == 200 and "content-type: application/json" in head, head
        got, want = json.loads(text), json.loads(server.ok("bundle", "show", "-format", "spiffe"))
        assert got["spiffe_refresh_hint"] == 600, got
        assert got["keys"] == want["keys"], (got, want)
        assert got["spiffe_sequence"] == want["spiffe_sequence"], (got, want)

    with s.check("whoever has it is told so"):
        tag = next(line for line in head.splitlines() if line.startswith("etag:")).split(":", 1)[1]
        code, head, text = curl(port, *trust, "-H", f"If-None-Match: {tag.strip()}", host=host)
        assert code == 304 and not text, (code, text)

    with s.check("there is nothing else"):
        assert curl(port, *trust, path="/x", host=host)[0] == 404
        assert curl(port, *trust, "-X", "POST", host=host)[0] == 405
        assert curl(port, *trust, "-d", "x=1", host=host)[0] in (405, 413)
        code, _, text = curl(port, *trust, "--head", host=host)
        assert code == 200 and not text


def s_client(port, *words):
    return run(["sh", "-c", 'printf "" | exec "$@"', "-", "openssl", "s_client", "-connect",
                f"127.0.0.1:{port}", *words], timeout=20)


def tls(s, port):
    with s.check("FED-03: TLS 1.2 and 1.3, nothing older, no CBC, no RSA key exchange"):
        for version in ("-tls1_2", "-tls1_3"):
            done = s_client(port, version)
            assert done.returncode == 0 and "Cipher is (NONE)" not in done.stdout, done.stdout[-400:]
        for words in (["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], ["-tls1", "-cipher", "ALL:@SECLEVEL=0"],
                      ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA384"],
                      ["-tls1_2", "-cipher", "AES128-GCM-SHA256:AES256-SHA"]):
            done = s_client(port, *words)
            # No handshake: openssl says so in one way or the other.
            assert done.returncode != 0 or "Cipher is (NONE)" in done.stdout, (words, done.stdout[-400:])

    with s.check("FED-11: no certificate is asked for"):
        assert "No client certificate CA names sent" in s_client(port, "-tls1_2").stdout


def hostile(s, server, port, *trust, host="127.0.0.1"):
    with s.check("rubbish, silence and crowds stop nobody"):
        held = []
        for data in (b"\x00" * 4096, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x40\x00", b""):
            plain = socket.create_connection(("127.0.0.1", port), timeout=10)
            held.append(plain)
            try:
                plain.sendall(data)
            except OSError:
                pass
        for _ in range(400):
            try:
                held.append(socket.create_connection(("127.0.0.1", port), timeout=10))
            except OSError:
                break
        assert server.daemon.alive and server.cli("healthcheck").returncode == 0
        for plain in held:
            plain.close()
        wait_until("the bundle is served", lambda: curl(port, *trust, host=host)[0] == 200, 20)


def pipelines(s, server, port):
    """One segment of small requests is worth megabytes of answers."""
    def peak():
        with open(f"/proc/{server.daemon.pid}/status", encoding="ascii") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmHWM:"))

    with s.check("clients that ask on and on and read nothing cost no memory"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        requests = b"GET / HTTP/1.1\r\nHost:x\r\n\r\n" * 10_000
        before, held = peak(), []
        for _ in range(8):
            plain = socket.create_connection(("127.0.0.1", port), timeout=10)
            secure = context.wrap_socket(plain)
            secure.settimeout(0.3)
            held.append(secure)
            try:
                for _ in range(8):
                    secure.sendall(requests)
            except OSError:
                pass
        assert peak() - before < 12 * 1024, f"{peak() - before} KiB more"
        assert curl(port, "-k")[0] == 200
        for secure in held:
            secure.close()


def body(s):
    port = free_port()
    # A short life, so that the certificate is renewed while we look.
    server = Server(
        s, federation=endpoint(port, "https_spiffe"), default_x509_svid_ttl="6s").start()
    root = s.path("bundle.pem")
    with open(root, "w", encoding="utf-8") as file:
        file.write(server.bundle_pem())
    wait_until("the endpoint answers", lambda: curl(port, "-k")[0] == 200, 20)
    document(s, server, port, "-k")
    with s.check("FED-24: the certificate is the server's X509-SVID, renewed without a restart"):
        leaf, version = chain(port, root)
        assert version == "TLSv1.3", version
        certificates.check_leaf(leaf, server.id("spire/server"))
        wait_until(
            "another certificate",
            lambda: chain(port, root)[0].serial_number != leaf.serial_number, 30)
    tls(s, port)
    pipelines(s, server, port)
    hostile(s, server, port, "-k")
    server.stop()

    authority = WebAuthority(s)
    files = s.path("web", "cert.pem"), s.path("web", "key.pem")
    authority.issue(*files, "localhost", "127.0.0.1")
    server.write_config(federation=endpoint(port, "https_web", {"serving_cert_file": {
        "cert_file_path": files[0], "key_file_path": files[1], "file_sync_interval": "1s"}}))
    server.start()
    trust = ("--cacert", authority.file)
    wait_until("the endpoint answers", lambda: curl(port, *trust, host="localhost")[0] == 200, 20)
    document(s, server, port, *trust, host="localhost")
    with s.check("FED-10: curl finds its own name in the certificate"):
        assert curl(port, *trust, host="localhost")[0] == 200
        assert curl(port, *trust, "--resolve", f"other.test:{port}:127.0.0.1", host="other.test")[0] == 0
    tls(s, port)
    hostile(s, server, port, *trust, host="localhost")

    with s.check("a port that is taken is named at the start"):
        second = Server(s, name="second", federation=endpoint(port, "https_spiffe"))
        second.launch()
        wait_until("the second server ends", lambda: not second.daemon.alive, 20)
        assert second.daemon.exit_code == 1, second.daemon.exit_code
        assert f"127.0.0.1:{port}" in second.daemon.log(), second.daemon.log_tail(8)
    server.stop()


main(__file__, body)
