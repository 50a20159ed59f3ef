"""A partner's revocations reach our workloads: CRLs in the crl field, the status list behind ValidateJWTSVID."""
import http.client
import json
import os
import ssl

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from harness import Agent, Server, free_port, main, own_selectors, protos, run, wait_until
from harness.certificates import load_chain, pem, token_parts
from harness.streams import Watch, code_of, watch_x509

REVOCATIONS = "cygnet.workload.v1.WorkloadRevocations"
PEM = serialization.Encoding.PEM
INVALID = grpc.StatusCode.INVALID_ARGUMENT
OK = grpc.StatusCode.OK
STATUS_URL = "https://energy.test/statuslist"


def endpoint(port):
    return {"bundle_endpoint": {"address": "127.0.0.1", "port": port, 'profile "https_spiffe"': {}}}


def get(port, path, **headers):
    """(status, headers, body) of the bundle endpoint; who it is, is the servers' business here."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=20, context=context)
    try:
        connection.request("GET", path, headers={
            name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def status(server):
    partners = server.json("federation", "status").get("partners") or []
    return next((one for one in partners if one["trust_domain"] == "energy.test"), {})


def lists(message):
    return [x509.load_der_x509_crl(der) for der in message.crl]


def names(crls, leaf):
    """Whether one of the lists takes the leaf back."""
    return any(crl.get_revoked_certificate_by_serial_number(leaf.serial_number) for crl in crls)


def of(root, crls):
    """The lists that this authority has signed."""
    return [crl for crl in crls
            if crl.issuer == root.subject and crl.is_signature_valid(root.public_key())]


def write(s, name, text):
    path = s.path("pem", name)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def openssl_verify(s, leaf, roots, crls):
    """What openssl says to a leaf with these lists: (accepted, words)."""
    done = run(["openssl", "verify", "-crl_check", "-no-CApath", "-no-CAstore",
                "-CAfile", write(s, "roots.pem", "".join(pem(root) for root in roots)),
                "-CRLfile", write(s, "crls.pem", "".join(
                    crl.public_bytes(PEM).decode() for crl in crls)),
                write(s, "leaf.pem", pem(leaf))])
    return done.returncode == 0, done.stdout + done.stderr


def mint(s, server, name):
    """A leaf minted on the server."""
    folder = s.path("minted", name)
    os.makedirs(folder, exist_ok=True)
    server.ok("x509", "mint", "-spiffeID", server.id(name), "-write", folder)
    with open(os.path.join(folder, "svid.pem"), "rb") as file:
        return x509.load_pem_x509_certificates(file.read())[0]


def served(api):
    messages = protos.messages(protos.WORKLOAD_API)
    wait_until("the workload is served", lambda: code_of(
        api.FetchX509SVID, messages.X509SVIDRequest(), metadata=protos.HEADER, timeout=10)[0] == OK, 30)


def siblings(s, energy, port, root):
    key_id = root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest.hex()
    with s.check("beside the bundle are a listing and the lists that it names; the bundle is as before"):
        code, headers, body = get(port, "/")
        assert code == 200 and headers["content-type"] == "application/json", headers
        assert set(json.loads(body)) == {"keys", "spiffe_sequence", "spiffe_refresh_hint"}, body
        code, headers, body = get(port, "/revocations")
        assert code == 200, (code, body)
        assert headers["content-type"] == "application/vnd.cygnet.revocations+json", headers
        assert headers["cache-control"] == "no-cache" and headers["etag"], headers
        listing = json.loads(body)
        assert listing["trust_domain"] == "energy.test", listing
        assert [crl["authority_key_id"] for crl in listing["crls"]] == [key_id], listing
        assert listing["status_list"]["uri"] == STATUS_URL, listing
        code, headers, body = get(port, f"/crl/{key_id}.crl")
        assert code == 200 and x509.load_der_x509_crl(body).is_signature_valid(root.public_key())
        code, headers, body = get(port, "/statuslist")
        assert code == 200 and headers["content-type"] == "application/statuslist+jwt", headers
        assert get(port, "/crl/00.crl")[0] == 404


def certificates(s, transport, energy, agent, api, root, victim, good):
    messages = protos.messages(protos.WORKLOAD_API)
    watch = watch_x509(api)
    with s.check("WAPI-28: the crl field has the partner's list, which takes nothing back yet"):
        message = watch.until(lambda message: of(root, lists(message)), 30)
        assert "spiffe://energy.test" in message.federated_bundles, list(message.federated_bundles)
        own, = load_chain(message.svids[0].bundle)
        assert len(of(own, lists(message))) == 1 and len(lists(message)) == 2, len(message.crl)
        for leaf in (victim, good):
            accepted, words = openssl_verify(s, leaf, [root], of(root, lists(message)))
            assert accepted, words
    with s.check("the partner revokes: openssl verify -crl_check with the field's lists refuses, and only that one"):
        energy.ok("revocation", "create", "-spiffeID", energy.id("/pump"), "-suspend",
                  "-reason", "stolen")
        message = watch.until(lambda message: names(of(root, lists(message)), victim), 30)
        accepted, words = openssl_verify(s, victim, [root], lists(message))
        assert not accepted and "revoked" in words, words
        accepted, words = openssl_verify(s, good, [root], lists(message))
        assert accepted, words
    with s.check("FetchX509Bundles has the lists too, and WorkloadRevocations names the partner"):
        bundles = next(api.FetchX509Bundles(messages.X509BundlesRequest(), metadata=protos.HEADER))
        assert names(lists(bundles), victim)
        told = protos.messages(REVOCATIONS)
        stream = Watch(protos.stub(REVOCATIONS, agent.channel()).FetchRevocations(
            told.FetchRevocationsRequest(), metadata=protos.HEADER))
        state = stream.until(lambda message: any(
            domain.trust_domain == "energy.test" and domain.status_lists
            for domain in message.trust_domains))
        stream.cancel()
        assert {domain.trust_domain for domain in state.trust_domains} == {
            "energy.test", "transport.test"}, state.trust_domains
        partner, = [one for one in state.trust_domains if one.trust_domain == "energy.test"]
        assert names([x509.load_der_x509_crl(der) for der in partner.crls], victim)
        assert [one.uri for one in partner.status_lists] == [STATUS_URL]
        assert not partner.revoked_tokens, "nobody signs digests"
    watch.cancel()


def body(s):
    ports = free_port(), free_port()
    energy = Server(
        s, name="energy", trust_domain="energy.test", federation=endpoint(ports[0]),
        revocation={"status_list_url": STATUS_URL}).start()
    transport = Server(
        s, name="transport", trust_domain="transport.test", federation=endpoint(ports[1])).start()
    there = Agent(s, energy, name="energy-agent").start()
    here = Agent(s, transport, name="transport-agent").start()
    energy.create_entry("pump", there.id, own_selectors())
    bundle = s.path("energy.json")
    with open(bundle, "w", encoding="utf-8") as file:
        file.write(energy.ok("bundle", "show", "-format", "spiffe"))
    transport.ok("federation", "create", "-trustDomain", "energy.test",
                 "-bundleEndpointURL", f"https://127.0.0.1:{ports[0]}/",
                 "-bundleEndpointProfile", "https_spiffe",
                 "-endpointSpiffeID", energy.id("spire/server"),
                 "-trustDomainBundlePath", bundle, "-trustDomainBundleFormat", "spiffe")
    transport.create_entry("light", here.id, own_selectors(), "-federatesWith", "energy.test")
    messages = protos.messages(protos.WORKLOAD_API)
    pump, light = there.workload_api(), here.workload_api()
    served(pump)
    served(light)

    svid = watch_x509(pump).next()
    victim = load_chain(svid.svids[0].x509_svid)[0]
    root, = load_chain(svid.svids[0].bundle)
    good = mint(s, energy, "well")
    token = pump.FetchJWTSVID(
        messages.JWTSVIDRequest(audience=["light"]), metadata=protos.HEADER).svids[0].svid
    other = energy.ok("jwt", "mint", "-spiffeID", energy.id("/well"), "-audience", "light").strip()

    def validate(text):
        return code_of(light.ValidateJWTSVID, messages.ValidateJWTSVIDRequest(
            audience="light", svid=text), metadata=protos.HEADER)

    siblings(s, energy, ports[0], root)
    with s.check("ValidateJWTSVID accepts the partner's tokens, which name their place in its status list"):
        _, claims = token_parts(token)[:2]
        assert claims["status"]["status_list"]["uri"] == STATUS_URL, claims
        wait_until("the partner's tokens are accepted", lambda: validate(token)[0] == OK)
        assert validate(other)[0] == OK

    certificates(s, transport, energy, here, light, root, victim, good)

    with s.check("ValidateJWTSVID refuses the partner's revoked token and no other"):
        wait_until("the token is refused", lambda: validate(token)[0] == INVALID)
        text = validate(token)[1]
        assert "status list" in text and "suspended" in text, text
        assert validate(other)[0] == OK

    with s.check("federation status says what lists there are and how long they are good"):
        state = status(transport)["revocations"]
        assert state["published"] is True and state["crls"] == 1 and state["status_list"] is True, state
        assert int(state["next_update"]) > 0 and state["last_error"] == "", state
        assert "1 CRL, status list; good for" in transport.ok("federation", "status")

    with s.check("a partner that is away takes no list with it"):
        energy.stop()
        assert transport.cli("federation", "refresh", "-id", "energy.test").returncode == 1
        wait_until("the status has the error", lambda: status(transport)["revocations"]["last_error"])
        assert status(transport)["revocations"]["crls"] == 1
        assert names(lists(watch_x509(light).next()), victim)
        assert validate(token)[0] == INVALID
        energy.start()

    with s.check("what the partner lifts is accepted again"):
        revocation, = energy.json("revocation", "list")["revocations"]
        energy.ok("revocation", "lift", "-id", revocation["id"], "-reason", "found")
        transport.ok("federation", "refresh", "-id", "energy.test")
        wait_until("the token is accepted again", lambda: validate(token)[0] == OK, 60)
        watch = watch_x509(light)
        watch.until(lambda message: of(root, lists(message))
                    and not names(lists(message), victim), 30)

    with s.check("the end of the relationship is the end of its lists"):
        transport.ok("federation", "delete", "-id", "energy.test")
        watch.until(lambda message: len(message.crl) == 1 and not message.federated_bundles, 30)
        watch.cancel()


main(__file__, body)
