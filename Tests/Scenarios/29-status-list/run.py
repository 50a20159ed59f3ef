"""The status list and the CRLs under PyJWT, cryptography, openssl and curl."""
import base64
import contextlib
import json
import os
import ssl
import socket
import threading
import time
import urllib.error
import urllib.request
import zlib

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from harness import Server, main, run
from harness.process import free_port, wait_until

PEM = serialization.Encoding.PEM
VALID, INVALID, SUSPENDED = 0, 1, 2
LIFETIME = 10


def get(url, **headers):
    """(status, headers, body); an HTTP error is an answer too."""
    request = urllib.request.Request(
        url, headers={name.replace("_", "-"): value for name, value in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


class Lists:
    """The lists as a consumer fetches them."""

    def __init__(self, server, port):
        self.server = server
        self.base = f"http://127.0.0.1:{port}"
        self.status_url = self.base + "/statuslist"

    def keys(self):
        document = json.loads(self.server.ok("bundle", "show", "-format", "spiffe"))
        return {key["kid"]: jwt.PyJWK({**key, "alg": "ES256"})
                for key in document["keys"] if key["use"] == "jwt-svid"}

    def status_list(self):
        """The verified claims, and the number at each place."""
        code, headers, body = get(self.status_url, Accept="application/statuslist+jwt")
        assert code == 200, code
        assert headers["content-type"] == "application/statuslist+jwt", headers["content-type"]
        token = body.decode("ascii")
        header = jwt.get_unverified_header(token)
        assert header["typ"] == "statuslist+jwt", header
        claims = jwt.decode(
            token, self.keys()[header["kid"]], algorithms=["ES256"],
            options={"require": ["exp", "iat", "sub"], "verify_aud": False})
        assert claims["sub"] == self.status_url, claims["sub"]
        assert claims["exp"] - claims["iat"] == LIFETIME and 0 < claims["ttl"] < LIFETIME, claims
        assert claims["status_list"]["bits"] == 2
        encoded = claims["status_list"]["lst"]
        assert "=" not in encoded
        packed = zlib.decompressobj()
        data = packed.decompress(
            base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)), 1 << 26)
        assert packed.eof and not packed.unused_data
        return claims, data

    def status(self, token):
        reference = jwt.decode(token, options={"verify_signature": False})["status"]["status_list"]
        assert reference["uri"] == self.status_url, reference
        _, data = self.status_list()
        index = reference["idx"]
        assert index // 4 < len(data), (index, len(data))
        return data[index // 4] >> index % 4 * 2 & 3

    def crl(self, authority):
        code, headers, body = get(f"{self.base}/crl/{authority}.crl")
        assert code == 200, (code, body)
        assert headers["content-type"] == "application/pkix-crl", headers["content-type"]
        return x509.load_der_x509_crl(body)


def key_id(certificate):
    return certificate.extensions.get_extension_for_class(
        x509.SubjectKeyIdentifier).value.digest.hex()


def roots(server):
    return x509.load_pem_x509_certificates(server.bundle_pem().encode())


def mint_token(server, name):
    return server.ok("jwt", "mint", "-spiffeID", server.id(name), "-audience", "water").strip()


def mint_certificate(s, server, name, folder=None):
    """The folder with svid.pem, key.pem, bundle.pem, and the leaf."""
    folder = s.path("minted", folder or name)
    os.makedirs(folder, exist_ok=True)
    server.ok("x509", "mint", "-spiffeID", server.id(name), "-dns", "localhost", "-write", folder)
    with open(os.path.join(folder, "svid.pem"), "rb") as file:
        return folder, x509.load_pem_x509_certificates(file.read())[0]


def openssl_verify(folder, crls):
    """What openssl says to the folder's X509-SVID with these CRLs: (accepted, words)."""
    path = os.path.join(folder, "crls.pem")
    with open(path, "wb") as file:
        file.write(b"".join(crl.public_bytes(PEM) for crl in crls))
    done = run(["openssl", "verify", "-crl_check", "-no-CApath", "-no-CAstore", "-CAfile",
                os.path.join(folder, "bundle.pem"), "-CRLfile", path,
                os.path.join(folder, "svid.pem")])
    return done.returncode == 0, done.stdout + done.stderr


@contextlib.contextmanager
def tls_server(folder):
    """A TLS server that shows the folder's X509-SVID and answers one line; gives its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.path.join(folder, "svid.pem"), os.path.join(folder, "key.pem"))
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            try:
                plain.settimeout(10)
                with context.wrap_socket(plain, server_side=True) as secure:
                    secure.recv(4096)
                    secure.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n"
                                   b"connection: close\r\n\r\nok\n")
            except OSError:
                plain.close()
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


def curl(folder, port):
    return run(["curl", "-sS", "-m", "10", "--noproxy", "*", "--cacert", os.path.join(folder, "bundle.pem"),
                "--crlfile", os.path.join(folder, "crls.pem"), f"https://localhost:{port}/"], timeout=30)


def revoke(server, name, *flags):
    """The revocation's ID."""
    answer = server.json("revocation", "create", "-spiffeID", server.id(name), "-reason", "theft",
                         *flags)
    return answer["revocation"]["id"]


def tokens(s, server, lists):
    names = ("stolen", "held", "good")
    minted = {name: mint_token(server, name) for name in names}
    with s.check("before anything is taken back all tokens have a place of their own, and it says valid"):
        indexes = {jwt.decode(token, options={"verify_signature": False})["status"]["status_list"]["idx"]
                   for token in minted.values()}
        assert len(indexes) == 3, indexes
        assert all(lists.status(token) == VALID for token in minted.values())
        _, data = lists.status_list()
        assert not any(data)
    return minted


def after_revocation(s, server, lists, minted):
    revoke(server, "stolen")
    held = revoke(server, "held", "-suspend")
    with s.check("the revoked token's place says invalid, the suspended one's suspended, the good one's valid"):
        wait_until("the list says so", lambda: lists.status(minted["stolen"]) == INVALID, 5)
        wait_until("the list says so", lambda: lists.status(minted["held"]) == SUSPENDED, 5)
        assert lists.status(minted["good"]) == VALID
    return held


def http(s, lists, authority):
    with s.check("whoever has a list is told so, and there is nothing else"):
        for path in ("/statuslist", f"/crl/{authority}.crl"):
            _, headers, _ = get(lists.base + path)
            assert headers["cache-control"] == "no-cache" and headers["last-modified"], headers
            code, _, body = get(lists.base + path, If_None_Match=headers["etag"])
            assert code in (200, 304) and (code == 200 or not body), code
        assert get(lists.base + "/")[0] == 404
        assert get(lists.base + "/crl/00.crl")[0] == 404


def certificates(s, server, lists, minted):
    root, = roots(server)
    authority = key_id(root)
    with s.check("an X509-SVID names the CRL of its authority, and the CRL is the authority's"):
        for _, leaf in minted.values():
            point, = leaf.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
            name, = point.full_name
            assert name.value == f"{lists.base}/crl/{authority}.crl", name.value
        crl = lists.crl(authority)
        assert crl.is_signature_valid(root.public_key()) and crl.issuer == root.subject
        identifier = crl.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
        assert identifier.key_identifier.hex() == authority
        life = crl.next_update_utc - crl.last_update_utc
        assert LIFETIME <= life.total_seconds() <= LIFETIME + 10, life

    with s.check("it lists what was taken back, with the reason of what is suspended"):
        def entry(name):
            return crl.get_revoked_certificate_by_serial_number(minted[name][1].serial_number)
        assert entry("good") is None
        assert entry("stolen") is not None and not list(entry("stolen").extensions)
        reason = entry("held").extensions.get_extension_for_class(x509.CRLReason).value.reason
        assert reason == x509.ReasonFlags.certificate_hold, reason

    with s.check("openssl takes the CRL, and refuses what is on it"):
        path = s.path("lists", "authority.crl")
        with open(path, "wb") as file:
            file.write(crl.public_bytes(serialization.Encoding.DER))
        bundle = os.path.join(minted["good"][0], "bundle.pem")
        done = run(["openssl", "crl", "-inform", "DER", "-in", path, "-CAfile", bundle, "-noout"])
        assert "verify OK" in done.stdout + done.stderr, done.stdout + done.stderr
        accepted, words = openssl_verify(minted["good"][0], [crl])
        assert accepted, words
        for name in ("stolen", "held"):
            accepted, words = openssl_verify(minted[name][0], [crl])
            assert not accepted and "certificate revoked" in words, words

    with s.check("curl --crlfile refuses the server that shows the revoked X509-SVID, and no other"):
        with tls_server(minted["good"][0]) as port:
            done = curl(minted["good"][0], port)
            assert done.returncode == 0 and done.stdout == "ok\n", (done.returncode, done.stderr)
        for name in ("stolen", "held"):
            with tls_server(minted[name][0]) as port:
                done = curl(minted[name][0], port)
                assert done.returncode != 0 and "revoked" in done.stderr, (done.returncode, done.stderr)
    return authority


def lifted(s, server, lists, tokens_minted, minted, authority, held):
    with s.check("what is lifted is valid again, in both lists"):
        server.ok("revocation", "lift", "-id", held)
        wait_until("the list says so", lambda: lists.status(tokens_minted["held"]) == VALID, 5)
        serial = minted["held"][1].serial_number
        wait_until("the CRL says so", lambda: lists.crl(
            authority).get_revoked_certificate_by_serial_number(serial) is None, 5)
        assert lists.status(tokens_minted["stolen"]) == INVALID


def renewed(s, lists, authority):
    def number(crl):
        return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    with s.check("both lists are renewed before they expire, and the CRL's number grows"):
        first, issued = lists.crl(authority), lists.status_list()[0]["iat"]
        until = time.monotonic() + LIFETIME + 3
        while time.monotonic() < until:
            left = lists.crl(authority).next_update_utc.timestamp() - time.time()
            assert left > 1, left
            assert lists.status_list()[0]["exp"] - time.time() > 1
            time.sleep(1)
        last = lists.crl(authority)
        assert number(last) > number(first) and last.last_update_utc > first.last_update_utc
        assert lists.status_list()[0]["iat"] > issued


def rotated(s, server, lists, minted, authority):
    with s.check("a new authority has a CRL before it signs, and each X509-SVID is judged by its own"):
        words = ("localauthority", "x509")
        (prepared,) = server.json(*words, "prepare").values()
        new = prepared["authority_id"]
        empty = wait_until("its CRL", lambda: get(f"{lists.base}/crl/{new}.crl")[0] == 200, 5)
        assert empty and not list(lists.crl(new))
        server.ok(*words, "activate", "-authorityID", new)
        folder, _ = mint_certificate(s, server, "fresh")
        crls = [lists.crl(authority), lists.crl(new)]
        assert openssl_verify(folder, crls)[0]
        assert openssl_verify(minted["good"][0], crls)[0]
        assert not openssl_verify(minted["stolen"][0], crls)[0]
        accepted, words = openssl_verify(folder, crls[:1])
        assert not accepted and "CRL" in words, words


def body(s):
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    server = Server(s, revocation={
        "address": "127.0.0.1", "port": port, "crl_ttl": f"{LIFETIME}s",
        "crl_distribution_url": base + "/crl", "status_list_url": base + "/statuslist"}).start()
    lists = Lists(server, port)
    minted_tokens = tokens(s, server, lists)
    minted = {name: mint_certificate(s, server, name) for name in ("stolen", "held", "good")}
    held = after_revocation(s, server, lists, minted_tokens)
    authority = certificates(s, server, lists, minted)
    http(s, lists, authority)
    lifted(s, server, lists, minted_tokens, minted, authority, held)
    renewed(s, lists, authority)
    rotated(s, server, lists, minted, authority)
    server.stop()


main(__file__, body)
