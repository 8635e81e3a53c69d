"""A real PostgreSQL for tests: one server per session and version, a fresh database per test."""

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
_PACKAGED = Path(embedded.binary("postgres")).parent
BINARIES = {
    "18": _PACKAGED,
    "16": _PACKAGED.parent.parent / "pginstall" / "bin",
    "15": Path("/usr/lib/postgresql/15/bin"),
}
"""The servers that are supported and where their programs are: the package's two, and Debian's."""


@pytest.fixture
def database() -> DatabaseConfig:
    """Settings of a database that is empty and nobody else's; the server is shared by the session."""
    url = embedded.ensure_database(server(), f"test_{next(_numbers)}")
    return DatabaseConfig(url=SecretStr(url))


# The older versions run in CI, with the slow tests: what a change breaks it mostly breaks on all of them.
@pytest.fixture(
    params=[
        pytest.param(version, marks=[] if version == "18" else pytest.mark.slow, id=f"postgres{version}")
        for version in BINARIES
    ]
)
def any_database(request: pytest.FixtureRequest) -> DatabaseConfig:
    """The same on each supported version of PostgreSQL that is on this machine."""
    if not (BINARIES[request.param] / "postgres").exists():
        pytest.skip(f"PostgreSQL {request.param} is not on this machine ({BINARIES[request.param]})")
    url = embedded.ensure_database(server(request.param), f"test_{next(_numbers)}")
    return DatabaseConfig(url=SecretStr(url))


@cache
def server(version: str = "18") -> DatabaseConfig:
    """The session's server of that version, started on first use and removed at the end."""
    config = own_server(Path(tempfile.mkdtemp(prefix=f"recjobs-test-{version}-")), version)
    embedded.start(config)
    return config


def own_server(folder: Path, version: str = "18") -> DatabaseConfig:
    """Settings of an embedded server in `folder`, not started; stopped and removed at the end of the session."""
    # Started by root, the server runs as another user, who must be able to enter.
    folder.chmod(0o755)
    binaries = None if version == "18" else str(BINARIES[version])
    config = DatabaseConfig(
        embedded_folder=str(folder / "postgres"), embedded_port=free_port(), embedded_binaries=binaries
    )
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
