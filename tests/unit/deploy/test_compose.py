"""What the compose specification's schema cannot say of docker-compose.yml."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from labelmill.local.supervisor import MARGIN_S
from labelmill.worker.settings import WorkerSettings

Check = Callable[[Sequence[str]], None]

SECRETS = ("POSTGRES_PASSWORD", "REDIS_PASSWORD")
UNITS = {"s": 1, "m": 60}


@pytest.fixture(scope="module")
def project(root: Path) -> dict[str, Any]:
    return YAML(typ="safe").load(root / "docker-compose.yml")


@pytest.fixture(scope="module")
def services(project: dict[str, Any]) -> dict[str, Any]:
    return project["services"]


@pytest.fixture(scope="module", params=["worker", "worker-cpu"])
def worker(request: pytest.FixtureRequest, services: dict[str, Any]) -> dict[str, Any]:
    return services[request.param]


@pytest.fixture(scope="module")
def redis_command(services: dict[str, Any]) -> str:
    return filled_in(services["redis"]["command"][-1])


def filled_in(text: str) -> str:
    """The text as compose gives it to the container, where only what must be set is set."""
    text = re.sub(r"\$\{\w+:\?[^}]+\}", "a-secret", text)
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)
    assert "${" not in text, f"neither a default nor an error: {text}"
    return text.replace("$$", "$")


def strings(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from strings(key)
            yield from strings(value)
    elif isinstance(node, list):
        for value in node:
            yield from strings(value)
    elif isinstance(node, str):
        yield node


def seconds(duration: str) -> int:
    return int(duration[:-1]) * UNITS[duration[-1]]


class TestSettings:
    def test_each_variable_is_a_setting(self, services: dict[str, Any]) -> None:
        found = set(re.findall(r"\bLABELMILL_\w+", " ".join(strings(services))))

        assert found
        assert {name.removeprefix("LABELMILL_").lower() for name in found} <= set(
            WorkerSettings.model_fields
        )

    def test_they_can_be_read(
        self, worker: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.chdir(tmp_path)
        for variable, value in worker["environment"].items():
            if value is not None:
                monkeypatch.setenv(variable, filled_in(value))

        settings = WorkerSettings()

        assert settings.models == ()
        mounted = {each["target"] for each in worker["volumes"] if isinstance(each, dict)}
        assert {str(settings.models_file), str(settings.image_root)} <= mounted

    def test_a_warm_shutdown_has_its_time(self, worker: dict[str, Any]) -> None:
        grace = WorkerSettings.model_fields["shutdown_grace"].default

        assert seconds(worker["stop_grace_period"]) > grace + MARGIN_S


class TestCommands:
    def test_they_are_commands_of_labelmill(
        self, services: dict[str, Any], check_command: Check
    ) -> None:
        for service in services.values():
            if "build" in service:
                check_command([filled_in(word) for word in service["command"]])

    def test_the_health_check_is_one(self, worker: dict[str, Any], check_command: Check) -> None:
        how, program, *words = worker["healthcheck"]["test"]

        assert (how, program) == ("CMD", "labelmill")
        check_command(words)

    def test_the_targets_are_stages(self, services: dict[str, Any], stages: dict[str, Any]) -> None:
        targets = {each["build"]["target"] for each in services.values() if "build" in each}

        assert targets == {"client", "worker"}
        assert targets <= set(stages)

    def test_the_build_arguments_are_arguments(
        self, services: dict[str, Any], stages: dict[str, Any]
    ) -> None:
        builds = [service["build"] for service in services.values() if "build" in service]

        assert any("args" in build for build in builds)
        for build in builds:
            taken = {each.partition("=")[0] for each in stages[build["target"]].all("ARG")}
            assert set(build.get("args", {})) <= taken


class TestRedis:
    def test_it_loses_no_jobs(self, redis_command: str) -> None:
        words = shlex.split(redis_command.partition("exec ")[2].replace("\\\n", ""))
        options = dict(zip(words[2::2], words[3::2], strict=True))

        assert words[0] == "redis-server"
        assert options["--appendonly"] == "yes"
        assert options["--appendfsync"] == "everysec"
        assert options["--maxmemory-policy"] == "noeviction"

    def test_it_keeps_its_data_in_a_volume(
        self, services: dict[str, Any], redis_command: str
    ) -> None:
        assert "--dir /data " in redis_command
        assert services["redis"]["volumes"] == ["redis:/data"]

    def test_its_password_is_no_argument(self, redis_command: str) -> None:
        assert "a-secret" not in redis_command
        assert "$REDISCLI_AUTH" not in redis_command.partition("exec ")[2]


class TestHardening:
    def test_every_service_has_only_what_it_needs(self, services: dict[str, Any]) -> None:
        for name, service in services.items():
            assert service["read_only"] is True, name
            assert service["cap_drop"] == ["ALL"], name
            assert service["security_opt"] == ["no-new-privileges:true"], name
            assert any(each.startswith("/tmp:") for each in service["tmpfs"]), name
            assert "privileged" not in service, name
            assert "cap_add" not in service, name

    def test_nobody_is_root(self, services: dict[str, Any], stages: dict[str, Any]) -> None:
        for name, service in services.items():
            if "build" in service:
                user = stages[service["build"]["target"]].all("USER")[-1]
                assert "user" not in service, name
            else:
                user = service["user"]
            assert user.partition(":")[0] not in ("", "0", "root"), name

    def test_ports_are_on_loopback(self, services: dict[str, Any]) -> None:
        ports = [port for service in services.values() for port in service.get("ports", [])]

        assert len(ports) == 3
        assert all(port.startswith("127.0.0.1:") for port in ports)

    def test_there_is_no_secret(self, project: dict[str, Any]) -> None:
        named = re.compile(r"PASSWORD|TOKEN|SECRET|AUTH|KEY")
        for service in project["services"].values():
            for variable, value in service.get("environment", {}).items():
                if named.search(variable):
                    assert value is None or re.fullmatch(r"\$\{\w+:\?[^}]+\}", value), variable
        for text in strings(project):
            for password in re.findall(r"://[^/@\s]*?:(.*?)@", text):
                assert password.startswith("${REDIS_PASSWORD:?")

    def test_passwords_have_no_default(self, root: Path) -> None:
        text = (root / "docker-compose.yml").read_text()
        for secret in SECRETS:
            uses = re.findall(rf"\$\{{{secret}(..)", text)
            assert uses
            assert set(uses) == {":?"}


class TestMounts:
    def test_they_exist(self, services: dict[str, Any], root: Path) -> None:
        for service in services.values():
            for mount in service.get("volumes", []):
                if isinstance(mount, dict):
                    source = filled_in(mount["source"])
                    assert (root / source).exists(), source

    def test_the_machine_is_mounted_read_only(self, services: dict[str, Any]) -> None:
        for service in services.values():
            for mount in service.get("volumes", []):
                if isinstance(mount, dict):
                    assert mount["read_only"] is True
                    assert mount["bind"] == {"create_host_path": False}
                else:
                    assert not mount.startswith((".", "/", "~", "$"))

    def test_volumes_are_declared(self, project: dict[str, Any]) -> None:
        used = {
            mount.partition(":")[0]
            for service in project["services"].values()
            for mount in service.get("volumes", [])
            if isinstance(mount, str)
        }

        assert used == set(project["volumes"])

    def test_the_cache_of_checkpoints_is_a_volume(
        self, worker: dict[str, Any], stages: dict[str, Any]
    ) -> None:
        (home,) = re.findall(r"HF_HOME=(\S+)", " ".join(stages["base"].all("ENV")))

        assert f"huggingface:{home}" in worker["volumes"]


class TestReplicas:
    def test_each_has_a_name_of_its_own(self, worker: dict[str, Any]) -> None:
        """Workers are called after their host, and a container's is its id unless one is given."""
        assert not {"hostname", "container_name", "network_mode", "ports"} & set(worker)

    def test_they_wait_for_what_they_need(self, services: dict[str, Any]) -> None:
        waits = {
            name: {other: how["condition"] for other, how in service["depends_on"].items()}
            for name, service in services.items()
            if "depends_on" in service
        }
        needs = {"migrate": "service_completed_successfully", "redis": "service_healthy"}

        assert waits == {
            "gateway": needs,
            "migrate": {"postgres": "service_healthy"},
            "reconciler": needs,
            "worker": needs,
            "worker-cpu": needs,
        }
        assert {"redis", "postgres"} <= {
            name for name, service in services.items() if "healthcheck" in service
        }

    def test_one_container_has_all_cards(self, services: dict[str, Any]) -> None:
        words = [filled_in(word) for word in services["worker"]["command"]]

        assert words == ["worker", "--devices", "all", "--per-device", "1"]
        [reserved] = services["worker"]["deploy"]["resources"]["reservations"]["devices"]
        assert reserved["count"] == "all"

    def test_nobody_gets_both_kinds_unasked(self, services: dict[str, Any]) -> None:
        assert services["worker"]["profiles"] == ["gpu"]
        assert services["worker-cpu"]["profiles"] == ["cpu"]
