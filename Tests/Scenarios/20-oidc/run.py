"""OpenID Connect discovery under relying parties that know nothing of SPIFFE."""
import json
import os
import ssl
import urllib.request

import jwt
from authlib.oidc.discovery import OpenIDProviderMetadata, get_well_known_url
from cryptography import x509
from harness import Agent, Server, binary, main, run
from harness.process import free_port, wait_until
from harness.webcert import WebAuthority, write
from joserfc import jwk
from joserfc import jwt as jose

DOCUMENT = "/.well-known/openid-configuration"


def curl(url, *options):
    """(HTTP status, body); (0, "") when there is no answer."""
    done = run(["curl", "-sS", "-m", "10", "-w", "\n%{http_code}", *options, url], timeout=30)
    text, _, code = done.stdout.rpartition("\n")
    return int(code or 0), text


def fetch(authority, url):
    with urllib.request.urlopen(url, timeout=10, context=authority.context) as answer:
        return json.load(answer)


def mint(server, audience="vault"):
    return server.ok(
        "jwt", "mint", "-spiffeID", server.id("payments"), "-audience", audience).strip()


def serial_at(port):
    """The serial number of the certificate that a port shows."""
    pem = ssl.get_server_certificate(("127.0.0.1", port), timeout=10)
    return x509.load_pem_x509_certificate(pem.encode()).serial_number


def relying_parties(s, server, authority, issuer):
    with s.check("the discovery document is what Authlib expects"):
        members = fetch(authority, get_well_known_url(issuer, external=True))
        metadata = OpenIDProviderMetadata(members)
        for name in ("issuer", "jwks_uri", "response_types_supported", "subject_types_supported",
                     "id_token_signing_alg_values_supported"):
            getattr(metadata, f"validate_{name}")()
        assert members["issuer"] == issuer, members

    with s.check("PyJWT finds the key and takes a JWT-SVID"):
        token = mint(server)
        client = jwt.PyJWKClient(members["jwks_uri"], ssl_context=authority.context)
        key = client.get_signing_key_from_jwt(token)
        claims = jwt.decode(
            token, key, algorithms=members["id_token_signing_alg_values_supported"],
            audience="vault", issuer=issuer)
        assert claims["sub"] == server.id("payments"), claims
        try:
            jwt.decode(token, key, algorithms=["ES256"], audience="other", issuer=issuer)
            raise AssertionError("a token for somebody else was taken")
        except jwt.InvalidAudienceError:
            pass

    with s.check("joserfc finds it too"):
        keys = jwk.KeySet.import_key_set(fetch(authority, members["jwks_uri"]))
        decoded = jose.decode(mint(server), keys, algorithms=["ES256"])
        jose.JWTClaimsRegistry(
            iss={"essential": True, "value": issuer},
            aud={"essential": True, "value": "vault"}).validate(decoded.claims)

    with s.check("a token of another server finds no key"):
        other = Server(s, name="other", jwt_issuer=issuer).start()
        foreign = mint(other)
        other.stop()
        try:
            client.get_signing_key_from_jwt(foreign)
            raise AssertionError("a key was found")
        except jwt.PyJWKClientError:
            pass


def hosts(s, authority, port):
    base = f"https://localhost:{port}"
    roots = ("--cacert", authority.file)
    with s.check("only the listed domains are answered for"):
        assert curl(base + DOCUMENT, *roots)[0] == 200
        assert curl(base + DOCUMENT, *roots, "-H", "Host: evil.test")[0] == 400
        assert curl(base + DOCUMENT, *roots, "-H", "X-Forwarded-Host: evil.test")[0] == 400
        assert curl(base + DOCUMENT, *roots, "-H", "X-Forwarded-Host: oidc.test")[0] == 200
        assert curl(base + "/keys", *roots, "-X", "POST")[0] == 405
        assert curl(base + "/", *roots)[0] == 404

    with s.check("whoever has the keys is told so"):
        done = run(["curl", "-sSI", *roots, base + "/keys"], check=True)
        tag = next(line for line in done.stdout.splitlines() if line.lower().startswith("etag:"))
        tag = tag.split(":", 1)[1].strip()
        assert curl(base + "/keys", *roots, "-H", f"If-None-Match: {tag}") == (304, "")


def certificates(s, authority, server, port, files):
    first = serial_at(port)
    with s.check("a certificate that is renewed counts without a restart"):
        second = authority.issue(*files, "localhost", "127.0.0.1")
        assert second != first
        wait_until("the new certificate", lambda: serial_at(port) == second, 20)

    with s.check("a broken file leaves the one before it in place, and the log says so"):
        write(files[1], b"not a key")
        wait_until("the log says so", lambda: "serves on" in server.daemon.log(), 20)
        assert serial_at(port) == second
        third = authority.issue(*files, "localhost", "127.0.0.1")
        wait_until("the next certificate", lambda: serial_at(port) == third, 20)


def provider(s, name, program, text):
    path = s.path(name, "provider.conf")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return s.daemon(name, [*program, "-config", path])


def separate_program(s, server):
    socket = s.path("provider", "oidc.sock")
    with s.check("the separate program serves a server's keys on a Unix socket"):
        daemon = provider(s, "provider", [binary("cygnet-server"), "oidc-discovery-provider"], f"""
            log_level = "debug"
            domains = ["oidc.test"]
            listen_socket_path = "{socket}"
            allow_insecure_scheme = true
            set_key_use = true
            server_path_prefix = "/city"
            server_api {{ address = "unix://{server.socket}" poll_interval = "1s" }}
        """)
        url = "http://oidc.test/city"
        wait_until("keys are served", lambda: os.path.exists(socket) and curl(
            url + "/keys", "--unix-socket", socket)[0] == 200, 20)
        code, text = curl(url + DOCUMENT, "--unix-socket", socket)
        assert code == 200 and json.loads(text)["issuer"] == url, text
        assert json.loads(text)["jwks_uri"] == url + "/keys", text
        keys = json.loads(curl(url + "/keys", "--unix-socket", socket)[1])["keys"]
        assert keys and all(key["use"] == "sig" and key["alg"] == "ES256" for key in keys), keys
        assert os.stat(socket).st_mode & 0o777 == 0o777

    with s.check("it keeps them when the server goes"):
        server.stop()
        wait_until("the failure is logged", lambda: "cannot fetch keys" in daemon.log(), 20)
        assert json.loads(curl(url + "/keys", "--unix-socket", socket)[1])["keys"] == keys
        server.start()
        assert daemon.stop() == 0 and not os.path.exists(socket)


def with_agent(s, server):
    agent = Agent(s, server).start()
    server.create_entry("oidc", agent.id, [f"unix:uid:{os.getuid()}"])
    link = s.path("bin", "oidc-discovery-provider")
    os.symlink(binary("cygnet-server"), link)
    port, health = free_port(), free_port()
    with s.check("under SPIRE's name it serves an agent's keys, with health checks"):
        daemon = provider(s, "agents-provider", [link], f"""
            domains = ["localhost"]
            insecure_addr = "127.0.0.1:{port}"
            allow_insecure_scheme = true
            workload_api {{
                socket_path = "{agent.socket}"
                trust_domain = "{server.trust_domain}"
            }}
            health_checks {{ bind_port = "{health}" ready_path = "/is-ready" }}
        """)
        ready = f"http://localhost:{health}/is-ready"
        wait_until("it is ready", lambda: curl(ready)[0] == 200, 30)
        assert curl(f"http://localhost:{health}/live")[0] == 200
        members = json.loads(curl(f"http://localhost:{port}{DOCUMENT}")[1])
        assert members["issuer"] == f"http://localhost:{port}", members
        token = mint(server)
        key = jwt.PyJWKClient(members["jwks_uri"]).get_signing_key_from_jwt(token)
        jwt.decode(token, key, algorithms=["ES256"], audience="vault")
        assert daemon.stop() == 0
    agent.stop()


def body(s):
    authority = WebAuthority(s)
    files = s.path("web", "cert.pem"), s.path("web", "key.pem")
    authority.issue(*files, "localhost", "127.0.0.1")
    port = free_port()
    issuer = f"https://localhost:{port}"
    server = Server(s, jwt_issuer=issuer, oidc_discovery={
        "domains": ["localhost", "oidc.test"],
        "serving_cert_file": {
            "cert_file_path": files[0], "key_file_path": files[1], "file_sync_interval": "1s",
            "addr": f"127.0.0.1:{port}"},
    }).start()
    relying_parties(s, server, authority, issuer)
    hosts(s, authority, port)
    certificates(s, authority, server, port, files)
    separate_program(s, server)
    with_agent(s, server)
    server.stop()


main(__file__, body)
