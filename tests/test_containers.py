"""The image and the stack, as far as they can be checked without a container engine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

CHECKOUT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def dockerfile() -> str:
    return (CHECKOUT / "Dockerfile").read_text()


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    stack = yaml.safe_load((CHECKOUT / "compose.yaml").read_text())
    found: dict[str, Any] = stack["services"]
    return found


def locked(package: str) -> str:
    lock = (CHECKOUT / "requirements.lock").read_text()
    found = re.search(rf"^{package}==(\S+)", lock, re.MULTILINE)
    assert found, f"{package} is not in the lock"
    return found.group(1)


def test_the_image_is_the_official_one_at_the_locked_version(dockerfile: str) -> None:
    assert (
        re.search(r"^FROM (\S+)$", dockerfile, re.MULTILINE).group(1)
        == f"apache/airflow:{locked('apache-airflow')}-python3.11"
    )  # type: ignore[union-attr]


def test_the_lock_is_installed_with_hashes_and_nothing_runs_as_root(dockerfile: str) -> None:
    assert "--require-hashes requirements.lock" in dockerfile
    assert re.findall(r"^USER (\S+)$", dockerfile, re.MULTILINE)[-1] == "airflow"
    assert "HEALTHCHECK" in dockerfile


def test_the_lock_has_the_driver_that_a_postgres_metadata_database_needs() -> None:
    assert locked("asyncpg")


def test_everything_copied_is_there_and_in_the_build_context(dockerfile: str) -> None:
    context = set((CHECKOUT / ".dockerignore").read_text().split())
    for sources in re.findall(r"^COPY \S+ (.+) \S+$", dockerfile, re.MULTILINE):
        for source in sources.split():
            assert (CHECKOUT / source).exists(), source
            assert f"!{source}" in context, source


def test_every_service_waits_for_services_there_are_and_is_watched(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert set(service.get("depends_on", {})) <= set(services), name
        assert "healthcheck" in service or name == "api-server", name


def test_ports_are_open_on_this_machine_only(services: dict[str, Any]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert len(ports) == 2
    assert all(port.startswith("127.0.0.1:") for port in ports)
