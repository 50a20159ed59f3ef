"""A revoked SVID is refused everywhere: the agent drops and replaces it, and hands the lists to those who verify."""
import hashlib
import subprocess

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from harness import Agent, Server, free_port, main, own_selectors, protos, run, wait_until
from harness.certificates import load_chain, pem, serial, token_parts
from harness.streams import Watch, code_of, ids, watch_x509

REVOCATIONS = "cygnet.workload.v1.WorkloadRevocations"
PEM = serialization.Encoding.PEM
DENIED = grpc.StatusCode.PERMISSION_DENIED
INVALID = grpc.StatusCode.INVALID_ARGUMENT


def leaf_of(message):
    return load_chain(message.svids[0].x509_svid)[0]


def lists(message):
    return [x509.load_der_x509_crl(der) for der in message.crl]


def names(crls, leaf):
    """Whether one of the lists takes the leaf back."""
    return any(crl.get_revoked_certificate_by_serial_number(leaf.serial_number) for crl in crls)


def watch_revocations(agent):
    messages = protos.messages(REVOCATIONS)
    api = protos.stub(REVOCATIONS, agent.channel())
    return Watch(api.FetchRevocations(messages.FetchRevocationsRequest(), metadata=protos.HEADER))


def digest(token):
    return hashlib.sha256(token.rsplit(".", 1)[0].encode()).digest()


class Files:
    """An SVID, the roots and the lists of one message as openssl and curl want them."""

    def __init__(self, s, name, message):
        svid = message.svids[0]
        key = serialization.load_der_private_key(svid.x509_svid_key, None)
        self.leaf = self.write(s, f"{name}.pem", "".join(pem(one) for one in load_chain(svid.x509_svid)))
        self.key = self.write(s, f"{name}.key", key.private_bytes(
            PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode())
        self.roots = self.write(s, f"{name}-roots.pem", "".join(pem(one) for one in load_chain(svid.bundle)))

    @staticmethod
    def write(s, name, text):
        path = s.path("tls", name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path


def crl_file(s, name, crls):
    return Files.write(s, name, "".join(crl.public_bytes(PEM).decode() for crl in crls))


class TLSServer:
    """`openssl s_server` with an SVID."""

    def __init__(self, files):
        self.port = free_port()
        self.process = subprocess.Popen(
            ["openssl", "s_server", "-accept", str(self.port), "-cert", files.leaf, "-key", files.key, "-www", "-quiet"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def __enter__(self):
        wait_until("openssl s_server listens", lambda: run(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{self.port}"], input="", timeout=10).returncode == 0)
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def s_client(self, roots, crls):
        return run(["openssl", "s_client", "-connect", f"127.0.0.1:{self.port}", "-CAfile", roots, "-CRL", crls,
                    "-crl_check", "-verify_return_error"], input="", timeout=15)

    def curl(self, roots, crls):
        return run(["curl", "-sS", "--noproxy", "*", "--cacert", roots, "--crlfile", crls,
                    "--resolve", f"peer.test:{self.port}:127.0.0.1", f"https://peer.test:{self.port}/"], timeout=15)


def replaced(s, server, agent, api):
    """-replace: the SVID is taken back, a fresh one comes on the stream, and everybody refuses the old one."""
    watch = watch_x509(api)
    told = watch_revocations(agent)
    with s.check("WAPI-28: lists of our authority come with the SVIDs, each one DER CRL that its authority signed"):
        before = watch.until(lambda message: len(message.crl) > 0)
        for crl in lists(before):
            assert any(crl.is_signature_valid(root.public_key()) for root in load_chain(before.svids[0].bundle))
        old = leaf_of(before)
        assert not names(lists(before), old)
    old_files = Files(s, "old", before)
    clean = crl_file(s, "clean.pem", lists(before))
    with s.check("openssl and curl accept the SVID with the list of before"):
        assert run(["openssl", "verify", "-crl_check", "-CAfile", old_files.roots, "-CRLfile", clean,
                    old_files.leaf]).returncode == 0
        with TLSServer(old_files) as peer:
            assert peer.s_client(old_files.roots, clean).returncode == 0
            done = peer.curl(old_files.roots, clean)
            assert done.returncode == 0, done.stderr

    with s.check("a revocation with -replace brings the workload a fresh SVID and the new list"):
        server.ok("revocation", "create", "-spiffeID", server.id("/victim"), "-replace", "-reason", "stolen")
        after = watch.until(lambda message: leaf_of(message).serial_number != old.serial_number)
        assert ids(after) == ids(before)
        new = leaf_of(after)
        after = after if names(lists(after), old) else watch.until(lambda message: names(lists(message), old))
        assert not names(lists(after), new)
        # No message has the old one again.
        assert leaf_of(watch_x509(api).next()).serial_number == new.serial_number

    with s.check("FetchRevocations and FetchX509Bundles have the list"):
        state = told.until(lambda message: any(
            names([x509.load_der_x509_crl(der) for der in domain.crls], old) for domain in message.trust_domains))
        assert [domain.trust_domain for domain in state.trust_domains] == ["example.org"]
        messages = protos.messages(protos.WORKLOAD_API)
        bundles = next(api.FetchX509Bundles(messages.X509BundlesRequest(), metadata=protos.HEADER))
        assert names(lists(bundles), old)

    dirty = crl_file(s, "dirty.pem", lists(after))
    with s.check("openssl verify -crl_check refuses the old one and accepts the new one"):
        done = run(["openssl", "verify", "-crl_check", "-CAfile", old_files.roots, "-CRLfile", dirty, old_files.leaf])
        assert done.returncode != 0 and "revoked" in done.stdout + done.stderr, done.stdout + done.stderr
        new_files = Files(s, "new", after)
        assert run(["openssl", "verify", "-crl_check", "-CAfile", new_files.roots, "-CRLfile", dirty,
                    new_files.leaf]).returncode == 0
    with s.check("openssl s_client -crl_check and curl --crlfile refuse a peer with the old one"):
        with TLSServer(old_files) as peer:
            done = peer.s_client(old_files.roots, dirty)
            assert done.returncode != 0 and "revoked" in done.stdout + done.stderr
            done = peer.curl(old_files.roots, dirty)
            assert done.returncode != 0 and "revoked" in done.stderr, done.stderr
        with TLSServer(new_files) as peer:
            assert peer.s_client(new_files.roots, dirty).returncode == 0
            done = peer.curl(new_files.roots, dirty)
            assert done.returncode == 0, done.stderr
    for stream in (watch, told):
        stream.cancel()


def tokens(s, server, agent, api):
    messages = protos.messages(protos.WORKLOAD_API)

    def fetch():
        answer = api.FetchJWTSVID(messages.JWTSVIDRequest(
            audience=["peer"], spiffe_id=server.id("/victim")), metadata=protos.HEADER)
        return answer.svids[0].svid

    def validate(token):
        return code_of(api.ValidateJWTSVID, messages.ValidateJWTSVIDRequest(
            audience="peer", svid=token), metadata=protos.HEADER)

    with s.check("ValidateJWTSVID refuses a revoked token and accepts its replacement"):
        token = fetch()
        assert fetch() == token, "kept by the agent"
        assert validate(token)[0] == grpc.StatusCode.OK
        told = watch_revocations(agent)
        server.ok("revocation", "create", "-spiffeID", server.id("/victim"), "-replace")
        told.until(lambda message: any(digest(token) in domain.revoked_tokens for domain in message.trust_domains))
        code, text = validate(token)
        assert code == INVALID and "revoked" in text, f"{code} {text}"
        fresh = fetch()
        assert fresh != token, token_parts(fresh)
        assert validate(fresh)[0] == grpc.StatusCode.OK
        told.cancel()


def blocked(s, server, api, entry_id):
    with s.check("a revocation without -replace ends the stream: the workload has no identity any more"):
        watch = watch_x509(api)
        watch.next()
        revocation = server.json("revocation", "create", "-entryID", entry_id, "-suspend")["revocation"]["id"]
        assert watch.wait_end() == DENIED, watch.details
        messages = protos.messages(protos.WORKLOAD_API)
        for _ in range(3):
            code, text = code_of(api.FetchX509SVID, messages.X509SVIDRequest(), metadata=protos.HEADER, timeout=10)
            assert code == DENIED, f"{code} {text}"
        code, text = code_of(
            api.FetchJWTSVID, messages.JWTSVIDRequest(audience=["x"]), metadata=protos.HEADER, timeout=10)
        assert code == DENIED, f"{code} {text}"
    with s.check("lifted, the workload is served again"):
        server.ok("revocation", "lift", "-id", revocation)

        def served():
            try:
                return leaf_of(watch_x509(api, timeout=5).next(5))
            except AssertionError:
                return None
        wait_until("the workload is served again", served, timeout=90)


def reconnects(s, server, agent, api):
    with s.check("an agent that was away has the list as soon as it is back"):
        watch = watch_x509(api)
        old = leaf_of(watch.next())
        watch.cancel()
        agent.stop()
        server.ok("revocation", "create", "-serial", serial(old), "-reason", "while the agent was away")
        agent.start()
        # A new process has nothing in memory: what it fetches is fresh, and the list has the old one.
        message = watch_x509(agent.workload_api()).until(lambda message: names(lists(message), old))
        assert leaf_of(message).serial_number != old.serial_number


def body(s):
    server = Server(s).start()
    agent = Agent(s, server).start()
    entry_id = server.create_entry("victim", agent.id, own_selectors(), "-dns", "peer.test")
    api = agent.workload_api()
    wait_until("the workload is served", lambda: code_of(
        api.FetchX509SVID, protos.messages(protos.WORKLOAD_API).X509SVIDRequest(), metadata=protos.HEADER,
        timeout=10)[0] == grpc.StatusCode.OK)
    replaced(s, server, agent, api)
    tokens(s, server, agent, api)
    blocked(s, server, api, entry_id)
    reconnects(s, server, agent, api)


main(__file__, body)
