"""The bundle in a file, in S3 and in a ConfigMap: three formats, rotation, and a place that is down."""
import base64
import json
import os
import ssl
import sys
import urllib.request

from cryptography import x509
from harness import Server, binary, free_port, main, run, wait_until

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from api_server import ApiServer  # noqa: E402
from authority import make  # noqa: E402

TOKEN = "a-bearer-token"
ACCESS = "AWS4-HMAC-SHA256 Credential=AKIDTEST/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=x"


def read(path):
    with open(path, "rb") as file:
        return file.read()


def from_keys(document, use="x509-svid"):
    """The X.509 authorities of a JWK Set, as DER."""
    return [base64.b64decode(key["x5c"][0]) for key in json.loads(document)["keys"]
            if "x5c" in key and key.get("use") == use]


def from_pem(document):
    from cryptography.hazmat.primitives.serialization import Encoding
    return [certificate.public_bytes(Encoding.DER)
            for certificate in x509.load_pem_x509_certificates(document)]


def body(s):
    ca, certificate, key = make(s)
    store_port, api_port = free_port(), free_port()
    trusting = ssl.create_default_context(cafile=ca)

    def s3(method, path, data=None):
        request = urllib.request.Request(
            f"https://localhost:{store_port}{path}", data=data, method=method,
            headers={"Authorization": ACCESS})
        with urllib.request.urlopen(request, timeout=10, context=trusting) as response:
            return response.read()

    def start_store():
        moto = s.daemon("moto", [
            os.path.join(os.path.dirname(sys.executable), "moto_server"), "-H", "127.0.0.1", "-p", str(store_port),
            "-c", certificate, "-k", key])

        def up():
            assert moto.alive, moto.log_tail()
            try:
                return s3("PUT", "/bundles") is not None
            except OSError:
                return False
        wait_until("the store has a bucket", up, 30)
        return moto

    kubeconfig = s.path("kube", "config")
    with open(kubeconfig, "w", encoding="utf-8") as file:
        file.write(f"""apiVersion: v1
kind: Config
clusters:
- cluster:
    certificate-authority-data: {base64.b64encode(read(ca)).decode()}
    server: https://127.0.0.1:{api_port}
  name: city
contexts:
- context:
    cluster: city
    user: publisher
  name: city
current-context: city
users:
- name: publisher
  user:
    tokenFile: token
""")
    with open(s.path("kube", "token"), "w", encoding="utf-8") as file:
        file.write(TOKEN + "\n")
    pem_file, spiffe_file = s.path("out", "bundle.pem"), s.path("out", "bundle.json")
    # Authorities prepare their successors after 30 s.
    server = Server(s, ca_ttl="60s", default_x509_svid_ttl="10s")
    server.write_config()
    with open(server.config, encoding="utf-8") as file:
        text = file.read()
    text = text.replace('    NodeAttestor "join_token"', f"""    BundlePublisher "file" {{
        plugin_data {{
            path = {json.dumps(pem_file)}
            format = "pem"
        }}
    }}
    BundlePublisher "file" {{
        plugin_data {{
            path = {json.dumps(spiffe_file)}
            format = "spiffe"
            refresh_hint = "77s"
        }}
    }}
    BundlePublisher "aws_s3" {{
        plugin_data {{
            region = "us-east-1"
            bucket = "bundles"
            object_key = "city/my bundle.jwks"
            format = "jwks"
            access_key_id = "AKIDTEST"
            secret_access_key = "very-secret-key"
            endpoint = "https://localhost:{store_port}"
        }}
    }}
    BundlePublisher "k8s_configmap" {{
        plugin_data {{
            clusters = {{
                "city" = {{
                    namespace = "spire"
                    configmap_name = "example.org"
                    configmap_key = "bundle.json"
                    kubeconfig_path = {json.dumps(kubeconfig)}
                    format = "spiffe"
                }}
            }}
        }}
    }}
    NodeAttestor "join_token\"""", 1)
    with open(server.config, "w", encoding="utf-8") as file:
        file.write(text)
    os.environ["AWS_CA_BUNDLE"] = ca
    s.at_end(lambda: os.environ.pop("AWS_CA_BUNDLE", None))

    api = ApiServer(api_port, certificate, key, TOKEN)
    s.at_end(api.stop)
    server.start()

    def own():
        return from_pem(server.bundle_pem().encode())

    def config_map():
        return api.maps.get(("spire", "example.org"), {}).get("bundle.json", '{"keys":[]}')

    with s.check("files and ConfigMap are there while the store is down"):
        wait_until("both files", lambda: os.path.exists(pem_file) and os.path.exists(spiffe_file))
        wait_until("the ConfigMap", lambda: from_keys(config_map()) != [])
        assert from_pem(read(pem_file)) == from_keys(read(spiffe_file)) == from_keys(config_map())
        document = json.loads(read(spiffe_file))
        assert document["spiffe_refresh_hint"] == 77 and document["spiffe_sequence"] >= 1, document
        assert {entry["use"] for entry in document["keys"]} == {"x509-svid", "jwt-svid"}

    with s.check("the log says which publisher failed, where, and when it is tried again, without the secret"):
        line = wait_until("the failure is logged", lambda: next(
            (line for line in server.daemon.log().split("\n") if "cannot publish the bundle" in line), None))
        for word in ("aws_s3", "s3://bundles/city/my bundle.jwks", "retry_in"):
            assert word in line, line
        assert "very-secret-key" not in server.daemon.log()

    moto = start_store()
    with s.check("the store gets the bundle once it is up: a plain JWK Set"):
        def stored():
            try:
                return s3("GET", "/bundles/city/my%20bundle.jwks")
            except OSError:
                return None
        document = json.loads(wait_until("the object", stored, 60))
        assert set(document) == {"keys"} and len(document["keys"]) >= 2, document
        assert all("use" not in entry for entry in document["keys"])

    with s.check("a new authority shows up everywhere"):
        first = set(own())
        new = wait_until("an authority is prepared", lambda: set(own()) - first, 90).pop()
        wait_until("the PEM file has it", lambda: new in from_pem(read(pem_file)))
        wait_until("the SPIFFE file has it", lambda: new in from_keys(read(spiffe_file)))
        wait_until("the ConfigMap has it", lambda: new in from_keys(config_map()))
        wait_until("the store has it", lambda: new in from_keys(stored() or b'{"keys":[]}', None))

    with s.check("a refused token is logged, a new one is taken from its file without a restart"):
        api.token = "another-token"
        seen = set(own())
        wait_until("the next authority", lambda: set(own()) - seen, 90)
        wait_until("the refusal is logged", lambda: "API server answered with status 401" in server.daemon.log())
        with open(s.path("kube", "token"), "w", encoding="utf-8") as file:
            file.write("another-token\n")
        wait_until("the ConfigMap is up to date", lambda: set(own()) == set(from_keys(config_map())), 60)
        assert "a-bearer-token" not in server.daemon.log()

    with s.check("nothing is left beside the files"):
        assert sorted(os.listdir(os.path.dirname(pem_file))) == ["bundle.json", "bundle.pem"]
        assert oct(os.stat(pem_file).st_mode)[-3:] == "644"

    with s.check("a setting that is missing or wrong is refused with its name"):
        for old, bad, expected in [
                ('format = "jwks"', "", "format"), ('bucket = "bundles"', "", "bucket"),
                ("https://localhost", "http://localhost", "https"),
                ('namespace = "spire"', 'namespace = "Spire"', "namespace")]:
            path = s.path("bad", "server.conf")
            with open(path, "w", encoding="utf-8") as file:
                file.write(text.replace(old, bad, 1))
            done = run([binary("cygnet-server"), "validate", "-config", path])
            assert done.returncode == 1 and expected in done.stderr, (old, done.stderr)
    assert moto.alive


main(__file__, body)
