"""Airflow's processes on this machine: started with `make up`, stopped with `make down`.

Each runs in a session of its own, and a record of it (process id and start time) is kept, so that a
process that has taken over an id is never taken for ours.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import psutil
from pydantic import BaseModel

from recjobs.airflow.home import HOST, PORT_VARIABLE, AirflowHome
from recjobs.errors import GiveUpError, RetryableError

COMMANDS: dict[str, tuple[str, ...]] = {
    "api-server": ("api-server",),
    # Logs are read from the folder that all of them share, so nobody has to serve them.
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer", "--skip-serve-logs"),
}
START_SECONDS = 180
STOP_SECONDS = 30
CHILD_STOP_SECONDS = 5
_LAST_LINES = 15


class ServiceError(GiveUpError):
    """A service can't be started."""


class ServiceTimeoutError(RetryableError):
    """A service did not come up in time."""


class Service(BaseModel):
    """A service that was started."""

    name: str
    pid: int
    created: float

    def process(self) -> psutil.Process | None:
        """The process, or None when it has ended."""
        try:
            process = psutil.Process(self.pid)
            alive = process.create_time() == self.created and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return None
        return process if alive else None


def running(home: AirflowHome) -> list[Service]:
    """The services that run."""
    return [service for service in _recorded(home) if service.process()]


def start(home: AirflowHome) -> None:
    """Starts what does not run yet and waits until all are healthy.

    Raises:
        ServiceError: the port is taken, or a service has ended; the message has its last lines.
        ServiceTimeoutError: they are not healthy after three minutes.
    """
    _migrate(home)
    known = {service.name: service for service in running(home)}
    if "api-server" not in known:
        _refuse_taken_port(home)
    for name, command in COMMANDS.items():
        if name not in known:
            known[name] = _start(home, name, command)
            _record(home, list(known.values()))
    _wait_until_healthy(home)


def stop(home: AirflowHome) -> list[str]:
    """Stops every service and all that it has started; returns their names. A stopped task is marked as failed."""
    services = running(home)
    processes = [process for service in services if (process := service.process())]
    families = [*processes, *(child for process in processes for child in process.children(recursive=True))]
    # The services first: they end their own children in good order.
    _end(processes, STOP_SECONDS)
    _end(families, CHILD_STOP_SECONDS)
    _file(home).unlink(missing_ok=True)
    return [service.name for service in services]


def health(home: AirflowHome) -> dict[str, str | None]:
    """The state of each part as the api-server tells it; empty while that does not answer."""
    try:
        with urllib.request.urlopen(f"http://{HOST}:{home.port}/api/v2/monitor/health", timeout=5) as answer:
            parts: dict[str, dict[str, Any]] = json.load(answer)
    except (urllib.error.URLError, TimeoutError, ConnectionError, json.JSONDecodeError):
        return {}
    return {name: part["status"] for name, part in parts.items()}


def _end(processes: list[psutil.Process], seconds: float) -> None:
    """Asks the processes to end, and after `seconds` ends those that have not."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    for process in alive:
        process.kill()
    psutil.wait_procs(alive, timeout=seconds)


def _migrate(home: AirflowHome) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "recjobs.airflow.home"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode != 0:
        raise ServiceError(f"Airflow's database {home.database} could not be migrated:\n{done.stdout[-2000:]}")


def _start(home: AirflowHome, name: str, command: tuple[str, ...]) -> Service:
    log = _log(home, name)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "airflow", *command],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            cwd=home.checkout,
            env={**os.environ, **home.environment()},
            start_new_session=True,
        )
    return Service(name=name, pid=process.pid, created=psutil.Process(process.pid).create_time())


def _wait_until_healthy(home: AirflowHome) -> None:
    deadline = time.monotonic() + START_SECONDS
    wanted = {"metadatabase", "scheduler", "dag_processor", "triggerer"}
    while not all(health(home).get(part) == "healthy" for part in wanted):
        for service in _recorded(home):
            if not service.process():
                stop(home)
                raise ServiceError(
                    f"Airflow's {service.name} has ended. Its log says:\n{_last_lines(home, service.name)}"
                )
        if time.monotonic() > deadline:
            raise ServiceTimeoutError(
                f"Airflow is not healthy after {START_SECONDS} s: {health(home) or 'the api-server does not answer'}. "
                f"See {home.logs / 'services'}."
            )
        time.sleep(1)


def _refuse_taken_port(home: AirflowHome) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, home.port))
        except OSError as error:
            raise ServiceError(
                f"port {home.port} on {HOST} is taken by another program. Stop it, or choose another port: "
                f"make up {PORT_VARIABLE}=8081",
                port=home.port,
            ) from error


def _recorded(home: AirflowHome) -> list[Service]:
    file = _file(home)
    return [Service(**service) for service in json.loads(file.read_text())] if file.is_file() else []


def _record(home: AirflowHome, services: list[Service]) -> None:
    _file(home).write_text(json.dumps([service.model_dump() for service in services]))


def _file(home: AirflowHome) -> Path:
    return home.folder / "services.json"


def _log(home: AirflowHome, name: str) -> Path:
    return home.logs / "services" / f"{name}.log"


def _last_lines(home: AirflowHome, name: str) -> str:
    return "\n".join(_log(home, name).read_text(errors="replace").splitlines()[-_LAST_LINES:])
