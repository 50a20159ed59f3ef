"""So much of a Kubernetes API server as server-side apply of ConfigMaps needs: HTTPS, one bearer token."""
import http.server
import json
import re
import ssl
import threading
from urllib.parse import parse_qs, urlsplit

PATH = re.compile(r"^/api/v1/namespaces/([a-z0-9.-]+)/configmaps/([a-z0-9.-]+)$")


class ApiServer:
    def __init__(self, port, certificate_file, key_file, token):
        self.token = token
        self.maps = {}
        self.requests = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self, status, content):
                body = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def refuse(self, status, message):
                self.answer(status, {"kind": "Status", "status": "Failure", "message": message})

            def do_PATCH(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                url = urlsplit(self.path)
                query = parse_qs(url.query)
                outer.requests.append((self.path, dict(self.headers)))
                if self.headers.get("Authorization") != f"Bearer {outer.token}":
                    return self.refuse(401, "Unauthorized")
                found = PATH.match(url.path)
                if not found:
                    return self.refuse(404, "the server could not find the requested resource")
                if self.headers.get("Content-Type") != "application/apply-patch+yaml":
                    return self.refuse(415, "only apply patches here")
                if not query.get("fieldManager"):
                    return self.refuse(422, "fieldManager is required for apply patch")
                applied = json.loads(body)
                namespace, name = found.groups()
                if (applied["apiVersion"], applied["kind"]) != ("v1", "ConfigMap"):
                    return self.refuse(400, "no ConfigMap")
                if applied["metadata"] != {"name": name, "namespace": namespace}:
                    return self.refuse(400, "the name in the body is another one")
                status = 200 if (namespace, name) in outer.maps else 201
                data = outer.maps.setdefault((namespace, name), {})
                data.update(applied["data"])
                self.answer(status, {"kind": "ConfigMap", "data": data})

            def log_message(self, *words):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate_file, key_file)
        self.http.socket = context.wrap_socket(self.http.socket, server_side=True)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def stop(self):
        self.http.shutdown()
        self.http.server_close()
