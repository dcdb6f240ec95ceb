"""The manifests for Kubernetes: valid, confined, and in agreement with the image and the program."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from sqmon.config import environment
from tests.support import ROOT
from tests.support.image import Image

MANIFESTS = ROOT / "config_files" / "kubernetes"
COMPONENT = MANIFESTS / "prometheus"
KUSTOMIZATION: dict[str, Any] = yaml.safe_load((MANIFESTS / "kustomization.yaml").read_text("utf-8"))
RESOURCES: list[dict[str, Any]] = [yaml.safe_load((MANIFESTS / name).read_text("utf-8")) for name in KUSTOMIZATION["resources"]]
POD: dict[str, Any] = next(resource for resource in RESOURCES if resource["kind"] == "StatefulSet")["spec"]["template"]["spec"]
CONTAINERS: dict[str, dict[str, Any]] = {container["name"]: container for container in POD["containers"]}
VERSIONS = ["1.29", kubernetes_validate.latest_version()]


def test_every_manifest_is_named() -> None:
    """The kustomization and its component name every file beside them."""
    component = yaml.safe_load((COMPONENT / "kustomization.yaml").read_text("utf-8"))

    assert {path.name for path in MANIFESTS.iterdir()} == {*KUSTOMIZATION["resources"], "kustomization.yaml", COMPONENT.name}
    assert {path.name for path in COMPONENT.iterdir()} == {*component["resources"], "kustomization.yaml"}


@pytest.mark.parametrize("version", VERSIONS)
def test_manifests_are_valid(version: str) -> None:
    """Every manifest has the form that Kubernetes publishes, with no field that it doesn't know."""
    for resource in RESOURCES:
        kubernetes_validate.validate(resource, version, strict=True)


def made_by_kustomize(place: Path, more: str = "") -> list[dict[str, Any]]:
    """Return the objects that kubectl makes of the files that the comment of the kustomization names, with `more` lines in it."""
    shutil.copytree(MANIFESTS, place, dirs_exist_ok=True)
    for path in (ROOT / "config_files" / "monitor_input.json", ROOT / "alloy" / "config.alloy"):
        shutil.copy(path, place)
    (place / "password").write_text("secret", "utf-8")
    with (place / "kustomization.yaml").open("a", encoding="utf-8") as file:
        file.write(more)
    made = subprocess.run(["kubectl", "kustomize", place], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return list(yaml.safe_load_all(made.stdout))


needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")


@needs_kubectl
def test_kustomize_makes_valid_manifests(tmp_path: Path) -> None:
    """With the files that its comment names, kubectl makes all objects of it, and each is valid."""
    objects = made_by_kustomize(tmp_path)

    for found in objects:
        kubernetes_validate.validate(found, VERSIONS[-1], strict=True)
    kinds = ["ConfigMap"] * 3 + ["Namespace", "NetworkPolicy", "Secret", "Service", "StatefulSet"]
    assert sorted(found["kind"] for found in objects) == kinds
    assert {found["metadata"]["namespace"] for found in objects if found["kind"] != "Namespace"} == {"sqmon"}


@needs_kubectl
def test_component_lets_prometheus_scrape(tmp_path: Path) -> None:
    """With the component, sqmon listens at the port that the pod names and the policy admits, and is scraped under the rules' job."""
    objects = made_by_kustomize(tmp_path, "components: [prometheus]\n")
    made = {found["kind"]: found for found in objects}
    settings = next(found["data"] for found in objects if found["metadata"]["name"] == "sqmon-settings")
    (endpoint,) = made["PodMonitor"]["spec"]["podMetricsEndpoints"]
    containers = {container["name"]: container for container in made["StatefulSet"]["spec"]["template"]["spec"]["containers"]}
    (rule,) = made["NetworkPolicy"]["spec"]["ingress"]

    for kind in ("NetworkPolicy", "StatefulSet"):
        kubernetes_validate.validate(made[kind], VERSIONS[-1], strict=True)
    assert containers["sqmon"]["ports"] == [{"name": endpoint["port"], "containerPort": int(settings["SQMON_METRICS_PORT"])}]
    assert "ports" not in containers["alloy"]
    assert [port["port"] for port in rule["ports"]] == [int(settings["SQMON_METRICS_PORT"])]
    assert (settings["SQMON_METRICS_ADDRESS"], environment.unknown(settings)) == ("0.0.0.0", [])
    assert made["PodMonitor"]["spec"]["selector"] == made["StatefulSet"]["spec"]["selector"]
    assert {"action": "replace", "targetLabel": "job", "replacement": "sqmon"} in endpoint["relabelings"]


def test_pods_are_restricted() -> None:
    """The pod keeps every rule of the Pod Security Standard "restricted", which the namespace enforces, and its roots are read-only."""
    (namespace,) = [resource for resource in RESOURCES if resource["kind"] == "Namespace"]

    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert not {"hostNetwork", "hostPID", "hostIPC"} & POD.keys()
    assert POD["securityContext"]["runAsNonRoot"] is True
    assert POD["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert {kind for volume in POD["volumes"] for kind in volume} - {"name"} <= {"configMap", "secret", "emptyDir"}
    for container in CONTAINERS.values():
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert "ports" not in container


def test_pod_runs_what_the_image_is() -> None:
    """User, directories and check of the pod are those of the image, and Alloy reads where sqmon writes."""
    image = Image((ROOT / "config_files" / "container" / "Dockerfile").read_text("utf-8"), ROOT, ROOT)
    mounts = {
        name: {mount["mountPath"]: (mount["name"], mount.get("subPath")) for mount in container["volumeMounts"]}
        for name, container in CONTAINERS.items()
    }

    assert f"{POD['securityContext']['runAsUser']}:{POD['securityContext']['runAsGroup']}" == image.value("USER")
    assert CONTAINERS["sqmon"]["readinessProbe"]["exec"]["command"] == image.words("HEALTHCHECK")
    assert {*image.words("VOLUME"), image.value("WORKDIR")} < mounts["sqmon"].keys()
    assert mounts["alloy"]["/var/log/sqmon"] == mounts["sqmon"]["/var/log/sqmon"] == ("data", "sqmon")


def test_names_agree() -> None:
    """What the pod mounts and reads is what the kustomization makes, and every setting is an option or a variable of Alloy's."""
    made = {entry["name"]: entry for entry in (*KUSTOMIZATION["configMapGenerator"], *KUSTOMIZATION["secretGenerator"])}
    mounted = {volume.get("configMap", {}).get("name") or volume["secret"]["secretName"] for volume in POD["volumes"]}
    settings = dict(literal.split("=", 1) for literal in made["sqmon-settings"]["literals"])
    alloy = (ROOT / "alloy" / "config.alloy").read_text("utf-8")

    assert mounted | {"sqmon-settings"} == made.keys()
    assert environment.unknown(settings) == []
    assert [name for name in settings if not name.startswith("SQMON_") and f'sys.env("{name}")' not in alloy] == []
    compose = yaml.safe_load((ROOT / "alloy" / "compose.yaml").read_text("utf-8"))["services"]
    assert CONTAINERS["alloy"]["image"] == compose["alloy"]["image"]
