"""What a partner may serve, and what becomes of it: an error in clear words, and the last good bundle."""
import json
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import Server, Skip, free_port, main  # noqa: E402
from harness.webcert import WebAuthority, start_trusting  # noqa: E402
from partner import Endpoint, authority, bundle, key_id  # noqa: E402

DOMAIN = "partner.test"


def body(s):
    web = WebAuthority(s)
    stranger = WebAuthority(s, "stranger-ca")
    certificate, key = s.path("web.crt"), s.path("web.key")
    web.issue(certificate, key, "localhost")
    endpoint = Endpoint(free_port(), certificate, key).start()
    s.at_end(endpoint.stop)
    server = Server(s, trust_domain="city.test")

    partner = authority(f"spiffe://{DOMAIN}")
    good = bundle(5, partner)
    ready = []

    def status():
        return next(one for one in server.json("federation", "status")["partners"]
                    if one["trust_domain"] == DOMAIN)

    def stored():
        return json.loads(server.ok("bundle", "list", "-id", DOMAIN, "-format", "spiffe"))["keys"]

    def refused(*words):
        """An attempt fails, says why, and leaves the bundle as it is."""
        if not ready:
            raise Skip("the first check has to pass")
        before = stored()
        started = time.monotonic()
        done = server.cli("federation", "refresh", "-id", DOMAIN, timeout=90)
        assert done.returncode == 1, f"exit code {done.returncode}: {done.stdout}{done.stderr}"
        state = status()
        for word in words:
            assert word.lower() in done.stderr.lower(), f"{word!r} is not in {done.stderr!r}"
            assert word.lower() in state["last_error"].lower(), f"{word!r} is not in {state}"
        assert state["has_bundle"] and state["failures"] >= 1, state
        assert state["sequence_number"] == "5", state
        assert stored() == before, "the last good bundle is gone"
        return time.monotonic() - started

    with s.check("FED-20: a partner of profile https_web, verified by a public authority"):
        start_trusting(server, web.file)
        endpoint.serve(good)
        server.ok("federation", "create", "-trustDomain", DOMAIN, "-bundleEndpointURL",
                  endpoint.url, "-bundleEndpointProfile", "https_web")
        server.ok("federation", "refresh", "-id", DOMAIN)
        state = status()
        assert state["sequence_number"] == "5" and state["last_error"] == "", state
        assert [one["x5c"] for one in stored()] == [partner["x5c"]], stored()
        ready.append(True)

    with s.check("down"):
        endpoint.stop()
        try:
            refused("failed to refresh bundle")
        finally:
            endpoint.start()

    with s.check("a certificate for another name"):
        web.issue(certificate, key, "other.test")
        endpoint.context.load_cert_chain(certificate, key)
        refused("not for localhost")

    with s.check("a certificate of an authority that nobody trusts"):
        stranger.issue(certificate, key, "localhost")
        endpoint.context.load_cert_chain(certificate, key)
        refused("certificate is not valid")
        web.issue(certificate, key, "localhost")
        endpoint.context.load_cert_chain(certificate, key)

    for code in (400, 403, 404, 500, 503):
        with s.check(f"status {code}"):
            endpoint.serve(good, status=code)
            refused(f"status {code}")

    for title, location, words in (
            ("in a circle", "/bundle", ["redirect"]),
            ("to http", f"http://localhost:{endpoint.port}/bundle", ["redirect", "https"]),
            ("to a file", "file:///etc/passwd", ["redirect"]),
            ("with user information", f"https://u:p@localhost:{endpoint.port}/", ["redirect"])):
        with s.check(f"a redirection {title}"):
            endpoint.redirect(location)
            before = len(endpoint.requests)
            refused(*words)
            # The bundle, and what lies beside it.
        assert len(endpoint.requests) - before <= 2 * 6, "more than five redirections were followed"

    with s.check("no body, no JSON, no JWK Set, no UTF-8"):
        for text, words in ((b"", ["empty"]), (b"<html>", []), (b"[]", []), (b"{}", []),
                            (b"{\"keys\": 1}", []), (b"\xff\xfe{}", ["utf-8"]),
                            (good[:-1], []), (good + b"x", [])):
            endpoint.serve(text)
            refused("failed to refresh bundle", *words)

    with s.check("a name that occurs twice"):
        endpoint.serve(b'{"keys": [], ' + good[1:])
        refused("failed to refresh bundle")

    with s.check("an answer that breaks off"):
        endpoint.hang_up()
        refused("failed to refresh bundle")

    with s.check("more than 1 MiB"):
        endpoint.serve(bundle(6, partner) + b" " * (1 << 20))
        refused("failed to refresh bundle")

    with s.check("packed, which nobody asked for"):
        endpoint.serve(good, Content_Encoding="gzip")
        refused("gzip")

    with s.check("too many authorities"):
        endpoint.serve(bundle(6, *[authority() for _ in range(1_001)]))
        refused()

    with s.check("an authority of another trust domain"):
        endpoint.serve(bundle(6, partner, authority("spiffe://bank.test")))
        refused("bank.test")

    with s.check("an authority that claims to be of our own trust domain"):
        endpoint.serve(bundle(6, partner, authority("spiffe://city.test")))
        refused("city.test")

    with s.check("our own authority under the partner's name"):
        endpoint.serve(bundle(6, *json.loads(
            server.ok("bundle", "show", "-format", "spiffe"))["keys"]))
        refused("city.test")

    with s.check("another authority with the key ID of ours"):
        ours = next(one for one in json.loads(
            server.ok("bundle", "show", "-format", "spiffe"))["keys"] if one["use"] == "x509-svid")
        endpoint.serve(bundle(6, partner, authority(key_id=key_id(ours))))
        refused("has the key ID of an authority of city.test", key_id(ours).hex())

    with s.check("a sequence number that goes back"):
        endpoint.serve(bundle(4, authority(f"spiffe://{DOMAIN}")))
        refused("sequence number 4 is lower than 5")

    with s.check("says that it waits, and does not: it is not asked without end"):
        endpoint.serve(good, ETag='"five"', Preference_Applied="wait=60")
        server.ok("federation", "refresh", "-id", DOMAIN)
        before = len(endpoint.requests)
        time.sleep(4)
        assert len(endpoint.requests) - before <= 3, endpoint.requests[before:]

    with s.check("slow: an answer that does not end takes up to half a minute, and nobody else's time"):
        for behave in (endpoint.dribble, endpoint.say_nothing):
            behave()
            assert refused("failed to refresh bundle") < 75

    with s.check("BND-20: an empty bundle is no attack: the partner revokes everything"):
        endpoint.serve(bundle(7))
        server.ok("federation", "refresh", "-id", DOMAIN)
        state = status()
        assert state["sequence_number"] == "7" and state["last_error"] == "", state
        assert stored() == [], stored()


main(__file__, body)
