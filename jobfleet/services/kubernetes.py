"""Annotates pods through the API server of Kubernetes, with the service account that a pod is given."""

from __future__ import annotations

import json
import os
import re
import ssl
from collections.abc import Mapping
from http import HTTPStatus
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from typing import NamedTuple, Self

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TIMEOUT = 5.0
POD_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")


class KubernetesError(Exception):
    """The API server did not do it; the text has the reason.

    Args:
        text: The reason.
        status: The status of its answer; 0 if there was none.
    """

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


class Kubernetes(NamedTuple):
    """The API server as a pod sees it.

    Attributes:
        host: Its host.
        port: Its port.
        account: The folder with the token, the certificate of the authority and the namespace.
    """

    host: str
    port: int
    account: Path

    @classmethod
    def here(cls, environ: Mapping[str, str] = os.environ, account: Path = ACCOUNT) -> Self | None:
        """The API server of the pod that this process runs in; None outside of a pod, or without a service account."""
        host, port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT", "443")
        if not host or not port.isdecimal() or not (account / "token").is_file():
            return None
        return cls(host.strip("[]"), int(port), account)

    def annotate(self, pod: str, annotations: Mapping[str, str]) -> bool:
        """Set annotations of a pod in the own namespace; False if there is no such pod. It blocks.

        The token is read each time, because Kubernetes replaces it.

        Args:
            pod: The name of the pod.
            annotations: The values by name; others stay.

        Raises:
            KubernetesError: The server refused it, or did not answer within 5 seconds.
        """
        if not POD_NAME.fullmatch(pod):
            return False
        body = json.dumps({"metadata": {"annotations": dict(annotations)}})
        try:
            namespace = self._read("namespace")
            headers = {"Authorization": f"Bearer {self._read('token')}", "Content-Type": "application/merge-patch+json"}
            trusted = ssl.create_default_context(cafile=str(self.account / "ca.crt"))
            connection = HTTPSConnection(self.host, self.port, timeout=TIMEOUT, context=trusted)
            try:
                connection.request("PATCH", f"/api/v1/namespaces/{namespace}/pods/{pod}", body, headers)
                answer = connection.getresponse()
                text = answer.read(2000).decode(errors="replace")
            finally:
                connection.close()
        except (OSError, HTTPException, ValueError) as error:
            raise KubernetesError(f"{self.host}:{self.port}: {type(error).__name__}: {error}") from error
        if answer.status == HTTPStatus.NOT_FOUND:
            return False
        if answer.status != HTTPStatus.OK:
            raise KubernetesError(f"{self.host}:{self.port} answered {answer.status}: {text[:300]}", answer.status)
        return True

    def _read(self, name: str) -> str:
        return (self.account / name).read_text(encoding="ascii").strip()
