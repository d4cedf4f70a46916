"""What the Kubernetes schemas cannot say of the manifests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from labelmill.core.catalog import Catalog
from labelmill.gateway.settings import GatewaySettings
from labelmill.local.supervisor import MARGIN_S
from labelmill.worker.settings import WorkerSettings

Check = Callable[[Sequence[str]], None]

#: The stage of the Dockerfile that each manifest runs.
IMAGES = {
    "labelmill-gateway": "client",
    "labelmill-migrate": "client",
    "labelmill-reconciler": "client",
    "labelmill-worker": "worker",
}


@pytest.fixture(scope="module")
def manifests(root: Path) -> dict[str, Any]:
    """The manifests by name."""
    files = sorted((root / "deploy" / "kubernetes").glob("*.yaml"))
    documents = [each for file in files for each in YAML(typ="safe").load_all(file)]
    found = {each["metadata"]["name"]: each for each in documents}
    assert len(found) == len(documents)
    return found


@pytest.fixture(scope="module")
def pod(manifests: dict[str, Any]) -> dict[str, Any]:
    return manifests["labelmill-worker"]["spec"]["template"]["spec"]


@pytest.fixture(scope="module", params=IMAGES)
def any_pod(request: pytest.FixtureRequest, manifests: dict[str, Any]) -> dict[str, Any]:
    return manifests[request.param]["spec"]["template"]["spec"]


def test_each_variable_is_a_setting(any_pod: dict[str, Any]) -> None:
    (container,) = any_pod["containers"]
    for variable in container["env"]:
        prefix, _, setting = variable["name"].partition("_")
        assert prefix == "LABELMILL"
        assert setting.lower() in WorkerSettings.model_fields | GatewaySettings.model_fields


def test_addresses_come_from_the_secret(any_pod: dict[str, Any]) -> None:
    (container,) = any_pod["containers"]
    for variable in container["env"]:
        if variable["name"].endswith("_URL"):
            assert variable["valueFrom"]["secretKeyRef"]["name"] == "labelmill"


def test_the_commands_are_labelmill_s(any_pod: dict[str, Any], check_command: Check) -> None:
    (container,) = any_pod["containers"]
    check_command(container["args"])
    for probe in ("startupProbe", "readinessProbe"):
        if "exec" in container.get(probe, {}):
            program, *words = container[probe]["exec"]["command"]
            assert program == "labelmill"
            check_command(words)


def test_they_have_only_what_they_need(any_pod: dict[str, Any]) -> None:
    (container,) = any_pod["containers"]

    assert any_pod["securityContext"]["runAsNonRoot"] is True
    assert any_pod["securityContext"]["runAsUser"] == 10001
    assert any_pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }


def test_the_images_are_stages(manifests: dict[str, Any], stages: dict[str, Any]) -> None:
    for name, target in IMAGES.items():
        (container,) = manifests[name]["spec"]["template"]["spec"]["containers"]
        assert container["image"].split("/")[-1].startswith(f"labelmill-{target}:")
        assert target in stages


def test_redis_being_away_restarts_no_worker(pod: dict[str, Any]) -> None:
    assert "livenessProbe" not in pod["containers"][0]


def test_a_warm_shutdown_has_its_time(pod: dict[str, Any]) -> None:
    grace = WorkerSettings.model_fields["shutdown_grace"].default

    assert pod["terminationGracePeriodSeconds"] > grace + MARGIN_S


def test_the_models_can_be_read(
    manifests: dict[str, Any], pod: dict[str, Any], tmp_path: Path
) -> None:
    (container,) = pod["containers"]
    (file,) = [
        Path(each["value"]) for each in container["env"] if each["name"].endswith("MODELS_FILE")
    ]
    (mount,) = [each for each in container["volumeMounts"] if each["name"] == "models"]
    content = manifests["labelmill-models"]["data"][file.name]
    (tmp_path / file.name).write_text(content)

    assert str(file.parent) == mount["mountPath"]
    assert list(Catalog.load(tmp_path / file.name)) == ["sentiment"]
