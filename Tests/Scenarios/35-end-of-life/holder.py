"""A workload: fetches its SVIDs with the stock client, closes the connection, prints them and stays until it is killed.

    holder.py ADDRESS AUDIENCE
"""
import json
import sys
import time

from cryptography.hazmat.primitives import serialization
from spiffe import WorkloadApiClient

PEM = serialization.Encoding.PEM


def main(address, audience):
    with WorkloadApiClient(address) as client:
        context = client.fetch_x509_context(timeout=30)
        tokens = client.fetch_jwt_svids({audience}, timeout=30)
    svid = context.default_svid
    public = svid.private_key.public_key().public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    print(json.dumps({
        "chain": [certificate.public_bytes(PEM).decode() for certificate in svid.cert_chain],
        "roots": [root.public_bytes(PEM).decode()
                  for bundle in context.x509_bundle_set.bundles for root in bundle.x509_authorities],
        "key": public.decode(),
        "token": tokens[0].token,
    }), flush=True)
    while True:
        time.sleep(60)


if __name__ == "__main__":
    main(*sys.argv[1:])
