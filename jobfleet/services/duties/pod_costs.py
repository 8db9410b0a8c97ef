"""The duty of deletion costs: lets Kubernetes remove the idlest worker first, of idle ones that with the oldest code.

A ReplicaSet that has to shrink removes the pod with the smallest ``controller.kubernetes.io/pod-deletion-cost``. The
duty sets this annotation on the pods of workers in the namespace of the reaper. The host of a worker names its pod.
"""

from __future__ import annotations

import json
import logging
import os
import re
import ssl
from collections import defaultdict
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from typing import NamedTuple, Self

from jobfleet.clock import monotonic
from jobfleet.config import JobConfig
from jobfleet.event_loop import in_thread
from jobfleet.metrics.tally import Tally
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.scale import code_first_seen
from jobfleet.operations.workers import workers_of
from jobfleet.services.long_lived import RepeatedFault
from jobfleet.services.service import Service
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls import samples
from jobfleet.store.records import FleetSeen

log = logging.getLogger("jobfleet.reaper")
COST = "controller.kubernetes.io/pod-deletion-cost"
EVERY = 15.0
AFTER_REFUSAL = 600.0
"""Seconds until the next turn after the service account was refused."""
AT_ONCE = 50
"""Pods that one turn writes, so that a large fleet does not load the API server."""
FOREIGN = 600.0
"""Seconds for which a host that is not a pod of this namespace is left alone."""
PER_LOAD = 1000
"""The cost of twice the running jobs. Below it, the cost orders pods by the age of their code."""


class PodCosts(Service):
    """Sets the deletion costs of the workers' pods.

    Args:
        store: The connection to Redis.
        config: The settings.
        tally: Counts the metrics.
        kubernetes: The API server.
    """

    name = "pod costs"

    def __init__(self, store: AsyncStore, config: JobConfig, tally: Tally, kubernetes: Kubernetes) -> None:
        super().__init__(tally)
        self._store, self._kubernetes = store, kubernetes
        self._context = FleetContext(config)
        self._set: dict[str, int] = {}
        self._foreign: dict[str, float] = {}
        self._api = RepeatedFault(log, "pod_costs")

    async def turn(self) -> float:
        """Set the costs that have changed. A fault of the API server is logged; it does not make the reaper unwell."""
        fleet = await self._store.run(self._context.fleet_call())
        head = await self._store.run(samples.samples(self._context.keys))
        wanted = self._costs(fleet, head)
        now = monotonic()
        self._set = {pod: cost for pod, cost in self._set.items() if pod in wanted}
        self._foreign = {pod: until for pod, until in self._foreign.items() if until > now}
        changed = [pod for pod, cost in wanted.items() if self._set.get(pod) != cost and pod not in self._foreign]
        try:
            for pod in changed[:AT_ONCE]:
                if await in_thread(self._kubernetes.annotate, pod, {COST: str(wanted[pod])}):
                    self._set[pod] = wanted[pod]
                else:
                    self._foreign[pod] = now + FOREIGN
        except KubernetesError as error:
            is_refused = error.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
            remedy = "; let the service account patch pods, or set pod_costs = false" if is_refused else ""
            self._api.failed(f"{error}{remedy}")
            return AFTER_REFUSAL if is_refused else EVERY
        self._api.succeeded()
        return EVERY

    def _costs(self, fleet: FleetSeen, head: samples.Head) -> dict[str, int]:
        """The cost of each host with workers, by its running jobs in powers of two, then by the age of its code."""
        alive = [one for one in workers_of(self._context, fleet) if not one.is_gone and one.host]
        seen = code_first_seen(fleet, head)
        running: defaultdict[str, int] = defaultdict(int)
        code: dict[str, int] = {}
        for one in alive:
            running[one.host] += one.running
            code[one.host] = max(code.get(one.host, 0), seen[one.id])
        ages: Sequence[int] = sorted(set(code.values()))
        rank = {at: min(place, PER_LOAD - 1) for place, at in enumerate(ages)}
        return {host: number.bit_length() * PER_LOAD + rank[code[host]] for host, number in running.items()}


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
    """The API server as a pod sees it, with the service account that the pod is given.

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
