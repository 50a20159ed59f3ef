"""The `spiffe` package from PyPI, unchanged: everything a Python workload does with it.

    stock_spiffe.py ADDRESS AUDIENCE        prints one JSON object
"""
import json
import sys

from cryptography.hazmat.primitives import serialization
from spiffe import JwtSource, WorkloadApiClient, X509Source


def pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def key_pem(key):
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption()).decode()


def main(address, audience):
    result = {}
    with WorkloadApiClient(address) as client:
        context = client.fetch_x509_context(timeout=15)
        result["svids"] = [
            {
                "id": str(svid.spiffe_id),
                "chain": [pem(certificate) for certificate in svid.cert_chain],
                "key": key_pem(svid.private_key),
            } for svid in context.x509_svids]
        result["bundles"] = {
            str(bundle.trust_domain): [pem(root) for root in bundle.x509_authorities]
            for bundle in context.x509_bundle_set.bundles}
        result["x509_bundles"] = sorted(
            str(bundle.trust_domain) for bundle in client.fetch_x509_bundles(timeout=15).bundles)
        tokens = client.fetch_jwt_svids({audience}, timeout=15)
        result["tokens"] = [
            {"id": str(token.spiffe_id), "token": token.token, "audience": sorted(token.audience),
             "expiry": token.expiry} for token in tokens]
        bundles = client.fetch_jwt_bundles(timeout=15)
        result["jwt_authorities"] = {
            str(bundle.trust_domain): sorted(bundle.jwt_authorities) for bundle in bundles.bundles}
        validated = client.validate_jwt_svid(tokens[0].token, audience, timeout=15)
        result["validated"] = str(validated.spiffe_id)
    with X509Source(socket_path=address, timeout_in_seconds=15) as source:
        result["source"] = str(source.get_x509_context().default_svid.spiffe_id)
    with JwtSource(socket_path=address, timeout_in_seconds=15) as source:
        result["jwt_source"] = str(source.fetch_svid({audience}).spiffe_id)
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
