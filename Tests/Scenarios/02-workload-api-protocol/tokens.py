"""ValidateJWTSVID with tokens that the trust domain's own key has signed and that break one rule each."""
import base64
import json
import time

import grpc
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from harness import certificates, protos
from harness.streams import code_of

INVALID = grpc.StatusCode.INVALID_ARGUMENT
LEFT_OUT = object()


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def changed(base, changes):
    result = {**base, **changes}
    return {name: value for name, value in result.items() if value is not LEFT_OUT}


class Forge:
    """Signs any header and claims with the server's JWT key, as who holds the key file could."""

    def __init__(self, server, header, claims):
        with open(server.keys, encoding="utf-8") as file:
            keys = json.load(file)["keys"]
        (name,) = [name for name in keys if name.lower().startswith("jwt")]
        self.key = serialization.load_der_private_key(base64.b64decode(keys[name]), None)
        self.header, self.claims = header, claims

    def signature(self, text):
        r, s = decode_dss_signature(self.key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def token(self, header=None, claims=None, raw_claims=None):
        claims = raw_claims or json.dumps(changed(self.claims, claims or {}))
        text = (encode(json.dumps(changed(self.header, header or {})).encode()) + "."
                + encode(claims.encode()))
        return text + "." + encode(self.signature(text))


def check(s, server, api, m, token):
    """`token`: a good one for the audience `a`."""
    header, claims = certificates.token_parts(token)
    forge = Forge(server, header, claims)
    now = int(time.time())

    def validate(text):
        return code_of(api.ValidateJWTSVID, m.ValidateJWTSVIDRequest(audience="a", svid=text),
                       metadata=protos.HEADER, timeout=10)

    good = {
        "as issued": forge.token(),
        "kid left out": forge.token({"kid": LEFT_OUT}),
        "typ JOSE": forge.token({"typ": "JOSE"}),
        "typ left out": forge.token({"typ": LEFT_OUT}),
        "an unknown header parameter": forge.token({"foo": 1}),
        "aud as text": forge.token(claims={"aud": "a"}),
        "expired half a minute ago": forge.token(claims={"exp": now - 30}),
        "other claims": forge.token(claims={"jti": "1", "iss": "https://a.test", "x": {"y": [1]}}),
    }
    head, payload, signature = good["as issued"].split(".")
    der = forge.key.sign(f"{head}.{payload}".encode(), ec.ECDSA(hashes.SHA256()))
    bad = {
        "JWT-02": [json.dumps({"protected": head, "payload": payload, "signature": signature}),
                   json.dumps({"payload": payload, "signatures": [
                       {"protected": head, "signature": signature}]})],
        "JWT-03": [good["as issued"] + ".AAAA.AAAA"],
        "JWT-05": [forge.token({"alg": alg}) for alg in
                   ("none", "HS256", "EdDSA", "ES256K", "es256", LEFT_OUT, 256, None)],
        "JWT-06": [forge.token({"alg": alg}) for alg in ("RS256", "PS256", "ES384", "ES512")]
        + [f"{head}.{payload}.{encode(der)}"],
        "JWT-08": [forge.token({"crit": ["x"], "x": 1}), forge.token({"crit": []})],
        "JWT-10": [forge.token({"typ": typ}) for typ in ("jwt", "at+jwt", "wit+jwt", "", None)],
        "JWT-12": [forge.token(claims={"sub": sub}) for sub in
                   (LEFT_OUT, "", "example.org/x", server.id("x") + "/", "SPIFFE://example.org/x", 1)],
        "JWT-14": [forge.token(claims={"aud": aud}) for aud in (LEFT_OUT, [], "", [""], None)],
        "JWT-15": [forge.token(claims={"aud": aud}) for aud in ("A", ["aa"], ["a "], {"a": "a"})],
        "JWT-18": [forge.token(claims={"exp": exp}) for exp in (LEFT_OUT, str(now + 60), True, None)],
        "JWT-19": [forge.token(claims={"exp": exp}) for exp in (now - 120, 0, -1)],
        "JWT-20": [forge.token(claims={"nbf": now + 180})],
        "JWT-22": [forge.token(claims={"sub": "spiffe://elsewhere.test/x"})],
        "twice": [forge.token(raw_claims=json.dumps(claims)[:-1] + ',"sub":"%s"}' % server.id("y"))],
    }
    with s.check("WAPI-39, JWT-02, 03, 05, 06, 08 to 10, 12, 14, 15, 18 to 22: tokens by the right key"):
        for name, text in good.items():
            code, details = validate(text)
            assert code == grpc.StatusCode.OK, f"{name}: {code} {details}"
        for rule, texts in bad.items():
            for number, text in enumerate(texts):
                code, details = validate(text)
                assert code == INVALID, f"{rule}, number {number}: {code} {details[:200]}"
