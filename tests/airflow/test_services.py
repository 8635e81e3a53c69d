"""Starting and stopping background processes: all of them, only ours, and what they have started."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from recjobs.airflow import services
from recjobs.airflow.home import HOST, AirflowHome
from recjobs.airflow.services import Service, ServiceError

SLEEPER = """
import subprocess, sys, time
subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(99)'])
time.sleep(99)
"""


@pytest.fixture
def home(tmp_path: Path) -> AirflowHome:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    return AirflowHome(tmp_path / "airflow", tmp_path, port)


@pytest.fixture
def start(home: AirflowHome, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], list[Service]]]:
    """Starts two services that run a piece of Python instead of Airflow."""

    def start_code(code: str) -> list[Service]:
        program = home.checkout / "airflow.py"
        program.write_text(code)
        services.start(home)
        return services.running(home)

    healthy = dict.fromkeys(("metadatabase", "scheduler", "dag_processor", "triggerer"), "healthy")
    monkeypatch.setattr(services, "COMMANDS", {"api-server": (), "scheduler": ()})
    monkeypatch.setattr(services, "_migrate", lambda _: None)
    monkeypatch.setattr(services, "health", lambda _: healthy)
    monkeypatch.setenv("PYTHONPATH", str(home.checkout))
    yield start_code
    services.stop(home)


def children_of(service: Service) -> list[psutil.Process]:
    process = service.process()
    assert process is not None
    deadline = time.monotonic() + 20
    while not (children := process.children(recursive=True)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return children


def test_stop_ends_every_service_and_its_children(home: AirflowHome, start: Callable[[str], list[Service]]) -> None:
    started = start(SLEEPER)
    assert [service.name for service in started] == ["api-server", "scheduler"]
    children = [child for service in started for child in children_of(service)]
    assert len(children) == 2
    assert services.stop(home) == ["api-server", "scheduler"]
    assert services.running(home) == []
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)
    assert services.stop(home) == []


def test_starting_again_starts_nothing_twice(start: Callable[[str], list[Service]]) -> None:
    first = start(SLEEPER)
    assert start(SLEEPER) == first


def test_a_process_that_took_over_an_id_is_left_alone(home: AirflowHome) -> None:
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(99)"])
    try:
        home.folder.mkdir()
        services._record(home, [Service(name="scheduler", pid=stranger.pid, created=1.0)])
        assert services.running(home) == []
        assert services.stop(home) == []
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_service_that_ends_is_named_with_its_last_words(
    home: AirflowHome, start: Callable[[str], list[Service]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "health", lambda _: {})
    with pytest.raises(ServiceError, match=r"api-server has ended(.|\n)*no such option"):
        start("raise SystemExit('no such option')")
    assert services.running(home) == []


def test_a_taken_port_is_named_with_the_way_out(home: AirflowHome, start: Callable[[str], list[Service]]) -> None:
    with socket.socket() as taken:
        taken.bind((HOST, home.port))
        taken.listen()
        with pytest.raises(ServiceError, match=f"port {home.port} .* make up AIRFLOW_PORT=8081"):
            start(SLEEPER)
