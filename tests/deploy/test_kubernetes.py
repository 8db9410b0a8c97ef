"""The chart and what kustomize takes: helm, kubectl, the schemas of Kubernetes, and the numbers that must fit."""

from __future__ import annotations

import copy
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import celpy.adapter
import jsonschema
import pytest
import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own

from jobfleet.services.duties.pod_costs import Kubernetes
from jobfleet.services.endpoint import SCALE, rule_of
from tests.deploy.deployed import (
    DEPLOY,
    IDLE_MIB,
    check,
    check_settings,
    has_time_to_drain,
    program,
    silent,
    users,
    variables,
)
from tests.support.fleet import ROOT
from tests.support.tools import tool

FOLDER = DEPLOY / "k8s"
EVERYTHING = (
    "workers.default.autoscale.enabled=true", "serviceMonitor.enabled=true", "web.enabled=true",
    "web.accessSecret=access", "versionLabel=a1b2c3", "workers.default.queues={mail,bulk}",
    "pods.env.JOBFLEET_NAMESPACE=shop", "reaper.podCosts=true",
)  # fmt: skip
Objects = list[dict[str, Any]]
pytestmark = tool("helm", "kubernetes_validate")


def helm(*settings: str) -> Objects:
    """The objects of the chart."""
    flags = [word for one in settings for word in ("--set", one)]
    text = silent(program("helm"), "template", "fleet", FOLDER / "chart", "--namespace", "shop", *flags)
    return [one for one in yaml.safe_load_all(text) if one]


@pytest.fixture(scope="module")
def everything() -> Objects:
    """All that the chart can make."""
    return helm(*EVERYTHING)


def deployments(objects: Objects) -> dict[str, dict[str, Any]]:
    """The pods by component."""
    return {
        one["metadata"]["labels"]["app.kubernetes.io/component"]: one["spec"]["template"]["spec"]
        for one in objects
        if one["kind"] == "Deployment"
    }


def test_helm_has_nothing_to_say_and_each_object_fits_its_schema(everything: Objects) -> None:
    silent(program("helm"), "lint", "--strict", FOLDER / "chart")

    check(everything)
    kinds = {one["kind"] for one in everything}
    assert kinds == {
        "Deployment", "Service", "ServiceAccount", "Role", "RoleBinding", "PodDisruptionBudget", "NetworkPolicy",
        "ServiceMonitor", "PodMonitor", "ScaledObject", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding",
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["Deployment", "ScaledObject", "PodMonitor"])
def test_a_misspelt_key_fits_no_schema(everything: Objects, kind: str) -> None:
    found = next(one for one in everything if one["kind"] == kind)

    with pytest.raises(jsonschema.ValidationError):
        check([{**found, "spec": {**found["spec"], "selectr": {}}}])


def test_the_files_for_kustomize_are_those_of_the_chart_and_build(tmp_path: Path) -> None:
    program("helm")
    silent(sys.executable, ROOT / "scripts" / "k8s", "--check")
    root = "/".join([".."] * (len(tmp_path.parts) - 1)) + str(FOLDER)  # kustomize takes relative paths only
    chosen = {"resources": [f"{root}/base"], "components": [f"{root}/keda", f"{root}/prometheus-operator"]}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(chosen))

    plain = list(yaml.safe_load_all(silent(program("kubectl"), "kustomize", FOLDER / "base")))
    whole = list(yaml.safe_load_all(silent(program("kubectl"), "kustomize", tmp_path)))

    check(plain)
    check(whole)
    assert [one["spec"].get("replicas") for one in plain if one["kind"] == "Deployment"] == [2, 2]
    assert sorted(one["spec"].get("replicas", 0) for one in whole if one["kind"] == "Deployment") == [0, 2]
    assert {one["kind"] for one in whole} - {one["kind"] for one in plain} == {
        "ScaledObject", "ServiceMonitor", "PodMonitor"
    }  # fmt: skip


def test_workers_have_time_to_drain_and_pods_have_no_rights(everything: Objects) -> None:
    pods = deployments(everything)

    assert pods.keys() == {"worker-default", "reaper", "web"}
    for name, pod in pods.items():
        (container,) = pod["containers"]
        settings = variables(container["env"])
        check_settings(settings)
        assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
        assert "readinessProbe" in container
        assert pod["securityContext"]["runAsNonRoot"]
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert pod["automountServiceAccountToken"] == (name == "reaper")
    worker = pods["worker-default"]
    grace = variables(worker["containers"][0]["env"])["JOBFLEET_GRACE"]
    assert has_time_to_drain(grace, worker["terminationGracePeriodSeconds"])
    (role,) = [one for one in everything if one["kind"] == "Role"]
    assert role["rules"] == [{"apiGroups": [""], "resources": ["pods"], "verbs": ["patch"]}]
    assert Kubernetes.annotate.__doc__


def test_no_role_may_patch_pods_unless_it_is_asked_for() -> None:
    kinds = {one["kind"] for one in helm()}

    assert not kinds & {"Role", "RoleBinding", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}
    assert variables(deployments(helm())["reaper"]["containers"][0]["env"])["JOBFLEET_POD_COSTS"] == "false"


POD: dict[str, Any] = {
    "metadata": {
        "labels": {"app.kubernetes.io/instance": "fleet", "jobfleet/role": "worker"}, "annotations": {"a": "1"},
    },
    "spec": {"containers": [{"image": "jobfleet"}]},
}  # fmt: skip


@pytest.mark.parametrize(
    ("path", "value", "is_allowed"),
    [
        (("metadata", "annotations", "controller.kubernetes.io/pod-deletion-cost"), "5", True),
        (("metadata", "annotations"), {"controller.kubernetes.io/pod-deletion-cost": "5"}, False),
        (("metadata", "annotations", "a"), "2", False),
        (("metadata", "annotations", "b"), "2", False),
        (("metadata", "labels", "jobfleet/role"), "web", False),
        (("metadata", "finalizers"), ["example.org/stay"], False),
        (("metadata", "ownerReferences"), [{"kind": "Pod", "name": "gone", "uid": "0"}], False),
        (("spec", "containers"), [{"image": "evil"}], False),
    ],
)
def test_the_policy_permits_the_reaper_nothing_but_the_costs_of_workers(
    everything: Objects, path: tuple[str, ...], value: object, is_allowed: bool
) -> None:
    after = copy.deepcopy(POD)
    place = after
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value

    assert admitted(everything, POD, after, user="system:serviceaccount:shop:fleet-reaper") is is_allowed
    assert admitted(everything, POD, after, user="system:serviceaccount:shop:other"), "it is about the reaper alone"


@pytest.mark.parametrize("labels", [{}, {"jobfleet/role": "web", "app.kubernetes.io/instance": "fleet"},
                                    {"jobfleet/role": "worker", "app.kubernetes.io/instance": "other"}])  # fmt: skip
def test_the_policy_protects_all_other_pods(everything: Objects, labels: dict[str, str]) -> None:
    before = {**POD, "metadata": {"labels": labels}}
    after = {**POD, "metadata": {"labels": labels, "annotations": {"controller.kubernetes.io/pod-deletion-cost": "1"}}}

    assert not admitted(everything, before, after, user="system:serviceaccount:shop:fleet-reaper")


def admitted(objects: Objects, before: Any, after: Any, *, user: str) -> bool:
    """Whether the policy of the chart admits the update of a pod, as the API server evaluates it."""
    (policy,) = [one["spec"] for one in objects if one["kind"] == "ValidatingAdmissionPolicy"]
    (binding,) = [one["spec"] for one in objects if one["kind"] == "ValidatingAdmissionPolicyBinding"]
    assert binding["validationActions"] == ["Deny"]
    environment = celpy.Environment()
    known = {"object": after, "oldObject": before, "request": {"operation": "UPDATE", "userInfo": {"username": user}}}
    names: dict[str, Any] = {name: celpy.adapter.json_to_cel(one) for name, one in known.items()}

    def value(expression: str) -> Any:
        return environment.program(environment.compile(expression)).evaluate(names)

    if not all(value(one["expression"]) for one in policy["matchConditions"]):
        return True
    found = celpy.celtypes.MapType()
    for one in policy["variables"]:
        names["variables"] = found
        found[celpy.celtypes.StringType(one["name"])] = value(one["expression"])
    return all(value(one["expression"]) for one in policy["validations"])


def test_each_role_reads_the_secret_of_its_redis_user(everything: Objects) -> None:
    found = {
        (name, row["name"]): (row["valueFrom"]["secretKeyRef"]["name"], row["valueFrom"]["secretKeyRef"]["key"])
        for name, pod in deployments(everything).items()
        for row in pod["containers"][0]["env"]
        if "valueFrom" in row
    }

    assert found == {
        ("worker-default", "JOBFLEET_URL"): ("jobfleet-redis-worker", "url"),
        ("reaper", "JOBFLEET_URL"): ("jobfleet-redis-reaper", "url"),
        ("web", "JOBFLEET_URL"): ("jobfleet-redis-web", "url"),
        ("web", "JOBFLEET_WEB_VIEWER_URL"): ("jobfleet-redis-web", "viewer-url"),
    }
    named = set(re.findall(r"redis://(\w+):", (FOLDER / "chart" / "values.yaml").read_text()))
    assert named == {"worker", "reaper", "operator", "web"}
    assert named <= users()


def test_an_empty_worker_takes_less_than_half_of_its_memory(everything: Objects) -> None:
    (container,) = deployments(everything)["worker-default"]["containers"]
    processes = int(variables(container["env"])["JOBFLEET_PROCESSES"])

    assert (processes + 1) * IDLE_MIB < int(container["resources"]["limits"]["memory"].removesuffix("Mi")) / 2


def test_keda_asks_what_a_reaper_answers(everything: Objects) -> None:
    (scaled,) = [one for one in everything if one["kind"] == "ScaledObject"]
    (metadata,) = [one["metadata"] for one in scaled["spec"]["triggers"]]
    url = urlsplit(metadata["url"])
    services = {one["metadata"]["name"]: one for one in everything if one["kind"] == "Service"}

    assert url.netloc == "fleet-reaper.shop.svc:9100"
    assert services["fleet-reaper"]["spec"]["ports"] == [{"name": "metrics", "port": 9100, "targetPort": "metrics"}]
    assert url.path == f"{SCALE}default"
    assert rule_of(dict(parse_qsl(url.query))) == (0, 20, 15.0, 300.0)
    assert metadata["valueLocation"] == "workers"
    assert scaled["spec"]["scaleTargetRef"]["name"] in {
        one["metadata"]["name"] for one in everything if one["kind"] == "Deployment"
    }


@pytest.mark.parametrize(("costs", "ports"), [("true", [443, 6443, 5432]), ("false", [5432])])
def test_reapers_and_the_dashboard_reach_the_databases_that_the_values_name(costs: str, ports: list[int]) -> None:
    opened = [f"networkPolicy.{role}Egress[0].ports[0].port=5432" for role in ("reaper", "web")]
    objects = helm("web.enabled=true", "web.accessSecret=access", f"reaper.podCosts={costs}", *opened)

    check(objects)
    policies = {one["metadata"]["name"]: one["spec"] for one in objects if one["kind"] == "NetworkPolicy"}
    assert {
        name: [port["port"] for rule in policies[f"fleet-{name}"]["egress"] for port in rule["ports"]]
        for name in ("reaper", "web")
    } == {"reaper": ports, "web": [5432]}
    assert policies["fleet-web"]["policyTypes"] == ["Ingress", "Egress"]


def test_the_dashboard_needs_users() -> None:
    command = [program("helm"), "template", "fleet", str(FOLDER / "chart"), "--set", "web.enabled=true"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode != 0
    assert "web.accessSecret names the secret with web.json" in done.stderr
