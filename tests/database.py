"""A real PostgreSQL for tests: one embedded server per session, a fresh database per test."""

from __future__ import annotations

import atexit
import itertools
import logging
import shutil
import socket
import tempfile
from functools import cache
from pathlib import Path

import pytest
from pydantic import SecretStr

from recjobs.publish import embedded
from recjobs.publish.config import DatabaseConfig

_numbers = itertools.count(1)


@pytest.fixture
def database() -> DatabaseConfig:
    """Settings of a database that is empty and nobody else's; the server is shared by the session."""
    url = embedded.ensure_database(server(), f"test_{next(_numbers)}")
    return DatabaseConfig(url=SecretStr(url))


@cache
def server() -> DatabaseConfig:
    """The session's server, started on first use and removed at the end."""
    config = own_server(Path(tempfile.mkdtemp(prefix="recjobs-test-")))
    embedded.start(config)
    return config


def own_server(folder: Path) -> DatabaseConfig:
    """Settings of an embedded server in `folder`, not started; stopped and removed at the end of the session."""
    # Started by root, the server runs as another user, who must be able to enter.
    folder.chmod(0o755)
    config = DatabaseConfig(embedded_folder=str(folder / "postgres"), embedded_port=free_port())
    atexit.register(_remove, config, folder)
    return config


def free_port() -> int:
    """A port on this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _remove(config: DatabaseConfig, folder: Path) -> None:
    logging.disable()  # at exit pytest has closed what its handlers write to
    embedded.stop(config)
    shutil.rmtree(folder, ignore_errors=True)
