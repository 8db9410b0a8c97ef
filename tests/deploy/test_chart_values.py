"""What teams set in a chart: each case renders, fits the schemas of Kubernetes, and does what was meant."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own

from tests.deploy.deployed import DEPLOY, check, program, silent
from tests.support.fleet import Programs
from tests.support.scraping import probe
from tests.support.tools import tool
from tests.support.waiting import wait_until

CHART = DEPLOY / "k8s" / "chart"
pytestmark = tool("helm", "kubernetes_validate")

POD = ("spec", "template", "spec")
CONTAINER = (*POD, "containers", 0)
WORKER = "Deployment/fleet-worker-default"
WEB = "web: {enabled: true, accessSecret: access"

CASES: dict[str, tuple[str, dict[tuple[str, tuple[object, ...]], object]]] = {
    "two pools": (
        "workers: {default: {modules: [shop]}, reports: {modules: [shop.reports], queues: [a, b], replicas: 1}}",
        {
            (WORKER, (*CONTAINER, "args")): ["worker", "shop"],
            ("Deployment/fleet-worker-reports", (*CONTAINER, "args")): ["worker", "shop.reports"],
            ("Deployment/fleet-worker-reports", ("env", "JOBFLEET_QUEUES")): "a,b",
            ("Deployment/fleet-worker-reports", ("spec", "replicas")): 1,
            ("PodDisruptionBudget/fleet-worker-reports", ("spec", "maxUnavailable")): 1,
        },
    ),
    "another pool alone": (
        "workers: {default: null, only: {modules: [shop]}}",
        {(WORKER, ()): None, ("Deployment/fleet-worker-only", (*CONTAINER, "args")): ["worker", "shop"]},
    ),
    "defaults of all pools": (
        "workerDefaults: {slots: 40}\nworkers: {default: {}, slow: {slots: 1}}",
        {
            (WORKER, ("env", "JOBFLEET_SLOTS")): "40",
            ("Deployment/fleet-worker-slow", ("env", "JOBFLEET_SLOTS")): "1",
        },
    ),
    "a pool with GPUs": (
        (
            "workers: {default: {runtimeClassName: nvidia, resources: {limits: {nvidia.com/gpu: 1}},"
            " nodeSelector: {gpu: a100}, tolerations: [{key: nvidia.com/gpu, operator: Exists, effect: NoSchedule}]}}"
        ),
        {
            (WORKER, (*CONTAINER, "resources", "limits")): {"nvidia.com/gpu": 1, "memory": "512Mi"},
            (WORKER, (*POD, "nodeSelector")): {"gpu": "a100"},
            (WORKER, (*POD, "runtimeClassName")): "nvidia",
            ("Deployment/fleet-reaper", (*POD, "tolerations")): None,
        },
    ),
    "a private registry": (
        "image: {repository: registry.example.com/shop, tag: a1b2c3, pullSecrets: [regcred]}",
        {
            (WORKER, (*CONTAINER, "image")): "registry.example.com/shop:a1b2c3",
            ("Deployment/fleet-reaper", (*POD, "imagePullSecrets")): [{"name": "regcred"}],
        },
    ),
    "a tag of digits": ("image: {tag: 1234567}", {(WORKER, (*CONTAINER, "image")): "jobfleet:1234567"}),
    "a digest": (
        f"image: {{digest: 'sha256:{'0f' * 32}'}}",
        {(WORKER, (*CONTAINER, "image")): f"jobfleet@sha256:{'0f' * 32}"},
    ),
    "the identity of a cloud": (
        "workers: {default: {serviceAccount: {annotations: {eks.amazonaws.com/role-arn: 'arn:aws:iam::1:role/shop'}}}}",
        {
            ("ServiceAccount/fleet-worker-default", ("metadata", "annotations")): {
                "eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/shop"
            },
            (WORKER, (*POD, "serviceAccountName")): "fleet-worker-default",
        },
    ),
    "a service account that exists": (
        "pods: {serviceAccount: {create: false, name: shop, token: true}}",
        {
            ("ServiceAccount/fleet-worker-default", ()): None,
            (WORKER, (*POD, "serviceAccountName")): "shop",
            (WORKER, (*POD, "automountServiceAccountToken")): True,
        },
    ),
    "numbers in env": (
        "pods: {env: {JOBFLEET_LEASE: 60, JOBFLEET_RESULT_MAX: 1048576, JOBFLEET_LOG_JOBS: true}}",
        {
            (WORKER, ("env", "JOBFLEET_LEASE")): "60",
            (WORKER, ("env", "JOBFLEET_RESULT_MAX")): "1048576",
            (WORKER, ("env", "JOBFLEET_LOG_JOBS")): "true",
        },
    ),
    "a secret in env": (
        "workers: {default: {env: {DATABASE_URL: {secretKeyRef: {name: db, key: url}}}}}",
        {
            (WORKER, ("env", "DATABASE_URL")): {"secretKeyRef": {"name": "db", "key": "url"}},
            ("Deployment/fleet-reaper", ("env", "DATABASE_URL")): None,
        },
    ),
    "whole secrets": (
        "pods: {envFrom: [{secretRef: {name: shop}}, {configMapRef: {name: shop}}]}",
        {("Deployment/fleet-reaper", (*CONTAINER, "envFrom", 0)): {"secretRef": {"name": "shop"}}},
    ),
    "the URL from a config map": (
        "pods: {env: {JOBFLEET_URL: {configMapKeyRef: {name: shop, key: redis}}}}",
        {(WORKER, ("env", "JOBFLEET_URL")): {"configMapKeyRef": {"name": "shop", "key": "redis"}}},
    ),
    "a grace in minutes": (
        "workers: {default: {grace: 2m}}",
        {(WORKER, (*POD, "terminationGracePeriodSeconds")): 135, (WORKER, ("env", "JOBFLEET_GRACE")): "2m"},
    ),
    "a grace of hours": (
        "workers: {default: {grace: 1h30m}}",
        {(WORKER, (*POD, "terminationGracePeriodSeconds")): 5415},
    ),
    "spot nodes": (
        (
            "pods: {tolerations: [{key: spot, operator: Exists}], priorityClassName: low, affinity: {nodeAffinity:"
            " {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, preference: {matchExpressions:"
            " [{key: spot, operator: Exists}]}}]}}}"
        ),
        {
            (WORKER, (*POD, "priorityClassName")): "low",
            ("Deployment/fleet-reaper", (*POD, "tolerations")): [{"key": "spot", "operator": "Exists"}],
        },
    ),
    "zones": (
        (
            "pods: {topologySpreadConstraints: [{maxSkew: 1, topologyKey: topology.kubernetes.io/zone,"
            " whenUnsatisfiable: DoNotSchedule}]}"
        ),
        {
            (WORKER, (*POD, "topologySpreadConstraints", 0, "labelSelector", "matchLabels")): {
                "app.kubernetes.io/name": "jobfleet", "app.kubernetes.io/instance": "fleet",
                "app.kubernetes.io/component": "worker-default",
            },
        },
    ),
    "annotations and labels": (
        "labels: {team: shop}\npods: {labels: {mesh: 'on'}, annotations: {prometheus.io/scrape: 'true'}}",
        {
            (WORKER, ("metadata", "labels", "team")): "shop",
            (WORKER, ("spec", "template", "metadata", "labels", "mesh")): "on",
            (WORKER, ("spec", "selector", "matchLabels", "team")): None,
            (WORKER, ("spec", "template", "metadata", "annotations")): {"prometheus.io/scrape": "true"},
        },
    ),
    "a sidecar": (
        (
            "workers: {default: {sidecars: [{name: proxy, image: 'proxy:1'}], initContainers: [{name: tunnel,"
            " image: 't:1', restartPolicy: Always}]}}"
        ),
        {
            (WORKER, (*POD, "containers", 1, "name")): "proxy",
            (WORKER, (*POD, "initContainers", 0, "restartPolicy")): "Always",
        },
    ),
    "a volume": (
        (
            "workers: {default: {volumes: [{name: models, persistentVolumeClaim: {claimName: models}}],"
            " volumeMounts: [{name: models, mountPath: /models, readOnly: true}]}}"
        ),
        {
            (WORKER, (*POD, "volumes", 1, "name")): "models",
            (WORKER, (*CONTAINER, "volumeMounts", 1, "mountPath")): "/models",
        },
    ),
    "OpenShift chooses the user": (
        "pods: {podSecurityContext: {runAsUser: null, runAsGroup: null, fsGroup: null}}",
        {(WORKER, (*POD, "securityContext")): {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}},
    ),
    "a user of ten digits": (
        "pods: {podSecurityContext: {runAsUser: 1000680000}}",
        {(WORKER, (*POD, "securityContext", "runAsUser")): 1000680000},
    ),
    "a lifecycle and flags": (
        "workers: {default: {extraArgs: [--log-jobs], lifecycle: {preStop: {sleep: {seconds: 5}}}}}",
        {
            (WORKER, (*CONTAINER, "args")): ["worker", "jobfleet", "--log-jobs"],
            (WORKER, (*CONTAINER, "lifecycle")): {"preStop": {"sleep": {"seconds": 5}}},
        },
    ),
    "an ingress with TLS": (
        WEB + ", ingress: {enabled: true, className: nginx, host: jobs.example.com, tlsSecret: cert, annotations:"
        " {cert-manager.io/cluster-issuer: le}}}",
        {
            ("Ingress/fleet-web", ("spec", "tls")): [{"hosts": ["jobs.example.com"], "secretName": "cert"}],
            ("Ingress/fleet-web", ("spec", "rules", 0, "host")): "jobs.example.com",
            ("Ingress/fleet-web", ("spec", "ingressClassName")): "nginx",
        },
    ),
    "a load balancer": (
        WEB + ", service: {type: LoadBalancer, port: 443, annotations: {internal: 'true'}}}",
        {
            ("Service/fleet-web", ("spec", "type")): "LoadBalancer",
            ("Service/fleet-web", ("spec", "ports", 0, "port")): 443,
        },
    ),
    "without KEDA": (
        "workers: {default: {hpa: {enabled: true, most: 30, cpu: 60}}}",
        {
            (WORKER, ("spec", "replicas")): None,
            ("HorizontalPodAutoscaler/fleet-worker-default", ("spec", "maxReplicas")): 30,
            ("HorizontalPodAutoscaler/fleet-worker-default", ("spec", "metrics", 0, "resource", "target")): {
                "type": "Utilization", "averageUtilization": 60,
            },
        },
    ),
    "KEDA for one pool": (
        "workers: {default: {}, bulk: {autoscale: {enabled: true, queue: bulk, most: 100}}}",
        {
            (WORKER, ("spec", "replicas")): 2,
            ("ScaledObject/fleet-worker-bulk", ("spec", "maxReplicaCount")): 100,
        },
    ),
    "alerts of an operator": (
        (
            "prometheusRule: {enabled: true, labels: {release: prom}}\n"
            "serviceMonitor: {enabled: true, labels: {release: prom}}"
        ),
        {
            ("PrometheusRule/fleet", ("metadata", "labels")): {"release": "prom"},
            ("PrometheusRule/fleet", ("spec", "groups", 0, "name")): "jobfleet",
            ("PodMonitor/fleet-worker", ("metadata", "labels")): {"release": "prom"},
        },
    ),
    "budgets": (
        "pods: {disruption: null}\nreaper: {disruption: {minAvailable: 1}}",
        {
            ("PodDisruptionBudget/fleet-worker-default", ()): None,
            ("PodDisruptionBudget/fleet-reaper", ("spec", "minAvailable")): 1,
        },
    ),
    "networks": (
        "redis: {port: 6380}\nnetworkPolicy: {workerEgress: [{ports: [{port: 443}]}]}",
        {
            ("NetworkPolicy/fleet-worker", ("spec", "egress")): [{"ports": [{"port": 443}]}],
            ("NetworkPolicy/fleet", ("spec", "egress", 1, "ports", 0, "port")): 6380,
        },
    ),
    "an external secret": (
        "extraObjects: [{apiVersion: v1, kind: Secret, metadata: {name: '{{.Release.Name}}-own'}, stringData: {a: b}}]",
        {("Secret/fleet-own", ("stringData",)): {"a": "b"}},
    ),
    "another name": (
        "fullnameOverride: jobs",
        {("Deployment/jobs-worker-default", ("spec", "replicas")): 2, ("Service/jobs-reaper", ("kind",)): "Service"},
    ),
    "names of hosts": (
        "pods: {hostAliases: [{ip: 10.0.0.1, hostnames: [db]}], dnsPolicy: None, dnsConfig: {nameservers: [10.0.0.2]}}",
        {(WORKER, (*POD, "dnsConfig")): {"nameservers": ["10.0.0.2"]}},
    ),
}  # fmt: skip
"""By name: the values, and what is at a place of an object then; None if nothing does."""


def rendered(values: str, folder: Path) -> dict[str, Any]:
    """The objects of the chart by kind and name."""
    (folder / "values.yaml").write_text(values)
    command = (program("helm"), "template", "fleet", CHART, "--namespace", "shop", "--values", folder / "values.yaml")
    return {f"{one['kind']}/{one['metadata']['name']}": one for one in yaml.safe_load_all(silent(*command)) if one}


def at(found: Any, path: tuple[object, ...]) -> Any:
    """What is at a place; a path that begins with ``env`` leads to a variable."""
    if path[:1] == ("env",):
        rows = {row["name"]: row.get("value", row.get("valueFrom")) for row in at(found, (*CONTAINER, "env"))}
        return rows.get(path[1])
    for name in path:
        try:
            found = found[name]
        except (KeyError, IndexError, TypeError):
            return None
    return found


@pytest.mark.parametrize("name", CASES)
def test_values_of_a_team_render_and_fit_the_schemas(name: str, tmp_path: Path) -> None:
    values, expected = CASES[name]
    objects = rendered(values, tmp_path)

    check(list(objects.values()))
    assert {place: at(objects.get(place[0]), place[1]) for place in expected} == expected


def test_the_defaults_are_those_of_the_schema(tmp_path: Path) -> None:
    """Each value of values.yaml is known to the schema, and each name of the schema is in values.yaml."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())["properties"]

    assert values.keys() == schema.keys() - {"global"}
    pods, pool = values["pods"].keys(), values["workerDefaults"].keys()
    assert pods == schema["pods"]["properties"].keys()
    assert pods | pool == schema["workerDefaults"]["properties"].keys()
    assert pods | pool == schema["workers"]["additionalProperties"]["oneOf"][1]["properties"].keys()
    for name in ("reaper", "web"):
        assert pods | values[name].keys() == schema[name]["properties"].keys()


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ("workers: {default: {slot: 5}}", "slot"),
        ("replicas: 3", "replicas"),
        ("workers: {default: {grace: 2 minutes}}", "grace"),
        ("image: {pullPolicy: Sometimes}", "pullPolicy"),
        ("pods: {env: {A: {secretKeyRef: {name: x}}}}", "env"),
        ("workers: {Default: {}}", "Default"),
        ("workers: {default: {autoscale: {enabled: true}, hpa: {enabled: true}}}", "choose autoscale or hpa"),
        (WEB + ", ingress: {enabled: true}}", "web.ingress.host"),
    ],
)
def test_wrong_values_are_refused_by_name(values: str, named: str, tmp_path: Path) -> None:
    (tmp_path / "values.yaml").write_text(values)
    command = [program("helm"), "template", "fleet", str(CHART), "--values", str(tmp_path / "values.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode != 0
    assert named in done.stderr


def links(objects: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The variables that Kubernetes sets in each container for the services of its namespace."""
    for one in objects.values():
        if one["kind"] == "Service":
            name = one["metadata"]["name"].upper().replace("-", "_")
            (port,) = one["spec"]["ports"]
            number = port["port"]
            yield f"{name}_SERVICE_HOST", "10.0.0.7"
            yield f"{name}_SERVICE_PORT", str(number)
            yield f"{name}_SERVICE_PORT_{port['name'].upper()}", str(number)
            yield f"{name}_PORT", f"tcp://10.0.0.7:{number}"
            yield f"{name}_PORT_{number}_TCP", f"tcp://10.0.0.7:{number}"
            yield f"{name}_PORT_{number}_TCP_PROTO", "tcp"
            yield f"{name}_PORT_{number}_TCP_PORT", str(number)
            yield f"{name}_PORT_{number}_TCP_ADDR", "10.0.0.7"


@pytest.mark.parametrize("role", ["worker-default", "reaper"])
def test_pods_of_a_release_named_jobfleet_start(programs: Programs, role: str, tmp_path: Path) -> None:
    """As processes, with all that Kubernetes puts into the environment where `enableServiceLinks` was left on."""
    values = f"fullnameOverride: jobfleet\n{WEB}}}"
    objects = rendered(values, tmp_path)
    container = at(objects[f"Deployment/jobfleet-{role}"], CONTAINER)
    plain = {row["name"]: row["value"] for row in container["env"] if "value" in row}
    programs.environment = {
        **dict(links(objects)), **plain, "JOBFLEET_METRICS_HOST": "127.0.0.1", "JOBFLEET_METRICS_PORT": "0",
    }  # fmt: skip

    pod = programs.start(*container["args"])

    def is_ready() -> bool:
        with suppress(AttributeError, IndexError, OSError):
            return probe(pod, "/readyz").status == 200
        return pod.is_over

    wait_until(is_ready, timeout=60, why="the pod is ready")
    assert not pod.is_over, "the program has ended"
