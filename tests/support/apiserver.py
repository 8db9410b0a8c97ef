"""An API server of Kubernetes that knows some pods, over TLS, for a client with a service account."""

from __future__ import annotations

import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import trustme

TOKEN = "a.token.of-the-service-account"
NAMESPACE = "shop"


class ApiServer:
    """The server; it patches the annotations of its pods for the right token.

    Args:
        folder: Where the files of the service account go, as in a pod.

    Attributes:
        pods: The annotations by pod.
        requests: The path of each request, with its status.
        environ: The variables that a pod has.
        may_patch: Whether the service account may patch pods.
    """

    def __init__(self, folder: Path) -> None:
        self.pods: dict[str, dict[str, str]] = {}
        self.requests: list[tuple[str, int]] = []
        self.may_patch = True
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(folder / "ca.crt"))
        (folder / "token").write_text(f"{TOKEN}\n")
        (folder / "namespace").write_text(NAMESPACE)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"api": self}))
        self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        self.environ: dict[str, str] = {
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(self._http.server_address[1]),
        }
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def patch(self, path: str, authorization: str, kind: str, body: bytes) -> int:
        """Apply a patch; return the status."""
        prefix, _, pod = path.rpartition("/")
        if authorization != f"Bearer {TOKEN}":
            return 401
        if not self.may_patch:
            return 403
        if prefix != f"/api/v1/namespaces/{NAMESPACE}/pods" or pod not in self.pods:
            return 404
        if kind != "application/merge-patch+json":
            return 415
        patch: dict[str, Any] = json.loads(body)
        self.pods[pod] |= patch["metadata"]["annotations"]
        return 200

    def close(self) -> None:
        """Stop."""
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


class _Handler(BaseHTTPRequestHandler):
    api: ApiServer

    def do_PATCH(self) -> None:
        """Patch a pod."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status = self.api.patch(self.path, self.headers["Authorization"], self.headers["Content-Type"], body)
        self.api.requests.append((self.path, status))
        answer = json.dumps({"kind": "Pod" if status == 200 else "Status"}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Print nothing."""
