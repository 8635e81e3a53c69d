"""The environment of this project's Airflow."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path

import pytest

from recjobs.airflow.home import AirflowHome, airflow_home


def test_every_process_gets_the_same_long_secret_that_only_its_owner_reads(tmp_path: Path) -> None:
    homes = [AirflowHome(tmp_path / "airflow", tmp_path, 8080) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        secrets = set(pool.map(lambda home: home.environment()["AIRFLOW__API_AUTH__JWT_SECRET"], homes))
    (secret,) = secrets
    assert len(secret) >= 64
    assert stat.S_IMODE((tmp_path / "airflow" / "secret").stat().st_mode) == 0o600


def test_airflow_finds_the_connect_arguments_by_name(tmp_path: Path) -> None:
    name = AirflowHome(tmp_path, tmp_path, 8080).environment()["AIRFLOW__DATABASE__SQL_ALCHEMY_CONNECT_ARGS"]
    module, _, attribute = name.rpartition(".")
    assert getattr(import_module(module), attribute)["timeout"] > 5


def test_airflow_listens_on_this_machine_only(tmp_path: Path) -> None:
    assert AirflowHome(tmp_path, tmp_path, 8080).environment()["AIRFLOW__API__HOST"] == "127.0.0.1"


@pytest.mark.parametrize(("given", "port"), [(None, 8080), ("", 8080), ("8081", 8081)])
def test_the_port_can_be_chosen(given: str | None, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_PORT", raising=False)
    if given is not None:
        monkeypatch.setenv("AIRFLOW_PORT", given)
    assert airflow_home().port == port
    assert f"http://127.0.0.1:{port}/" in airflow_home().environment()["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"]


def test_entering_after_airflow_was_imported_is_refused(tmp_path: Path) -> None:
    import_module("airflow")
    with pytest.raises(RuntimeError, match=r"call enter\(\) before"):
        AirflowHome(tmp_path, tmp_path, 8080).enter()
