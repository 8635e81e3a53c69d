"""This project's own Airflow: where it keeps its files, and the environment its processes need.

Everything lies below `work/airflow`. Airflow reads its settings from the environment when it is first imported, so
this module imports nothing of Airflow, and `enter` must come before whatever does.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from recjobs import settings

HOST = "127.0.0.1"
DEFAULT_PORT = 8080
PORT_VARIABLE = "AIRFLOW_PORT"
SQLITE_ARGUMENTS = {"timeout": 60}
"""Seconds that Airflow's processes wait for each other's writes; Airflow finds this by name."""
_ARGUMENTS_NAME = "recjobs.airflow.home.SQLITE_ARGUMENTS"


@dataclass(frozen=True)
class AirflowHome:
    """The folder of one Airflow, and the port of its UI."""

    folder: Path
    checkout: Path
    port: int

    @property
    def database(self) -> Path:
        """Airflow's own database: runs, task states, users' clicks. Our lists are not in it."""
        return self.folder / "airflow.db"

    @property
    def logs(self) -> Path:
        """The logs of tasks, as the UI shows them, and of services."""
        return self.folder / "logs"

    @property
    def url(self) -> str:
        """Where the UI is."""
        return f"http://localhost:{self.port}"

    def environment(self) -> dict[str, str]:
        """Airflow's settings, as variables that every process of this Airflow must have."""
        options = {
            "CORE__DAGS_FOLDER": self.checkout / "dags",
            "CORE__PLUGINS_FOLDER": self.checkout / "plugins",
            "CORE__LOAD_EXAMPLES": False,
            "CORE__EXECUTOR": "LocalExecutor",
            # Stages use every core, so more tasks at once would only wait for each other.
            "CORE__PARALLELISM": 4,
            "CORE__EXECUTION_API_SERVER_URL": f"http://{HOST}:{self.port}/execution/",
            "CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
            "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": self.password_file,
            "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.database}",
            "DATABASE__SQL_ALCHEMY_CONNECT_ARGS": _ARGUMENTS_NAME,
            "DATABASE__SQL_ALCHEMY_CONNECT_ARGS_ASYNC": _ARGUMENTS_NAME,
            "API__HOST": HOST,
            "API__PORT": self.port,
            "API__BASE_URL": self.url,
            "API__WORKERS": 1,
            # Tokens that one process signs and another checks. Left alone, each would make up a secret of its own.
            "API_AUTH__JWT_SECRET": self._secret(),
            "LOGGING__BASE_LOG_FOLDER": self.logs,
            "DAG_PROCESSOR__REFRESH_INTERVAL": 30,
        }
        return {
            "AIRFLOW_HOME": str(self.folder),
            **{f"AIRFLOW__{name}": str(value) for name, value in options.items()},
        }

    @property
    def password_file(self) -> Path:
        """Where Airflow keeps the password that it made up for the user `admin`."""
        return self.folder / "passwords.json"

    def _secret(self) -> str:
        file = self.folder / "secret"
        self.folder.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            # Linked when it is complete: of several processes at once one wins, and none reads half a secret.
            with tempfile.NamedTemporaryFile("w", dir=self.folder) as scratch:
                scratch.write(secrets.token_urlsafe(64))
                scratch.flush()
                with contextlib.suppress(FileExistsError):
                    os.link(scratch.name, file)
        return file.read_text()

    def enter(self) -> None:
        """Makes this process one of this Airflow's. Must come before Airflow is imported."""
        if "airflow" in sys.modules:
            raise RuntimeError("Airflow is imported already and has read its settings; call enter() before.")
        os.environ.update(self.environment())

    def migrate(self) -> None:
        """Brings Airflow's database up to the installed version; makes it where there is none. Imports Airflow.

        With a write-ahead log, readers and the writer of one SQLite file don't wait for each other.
        """
        from airflow.utils import db

        db.initdb()
        with contextlib.closing(sqlite3.connect(self.database)) as connection:
            connection.execute("pragma journal_mode=wal")


def airflow_home() -> AirflowHome:
    """The Airflow of this checkout; its port is 8080, or what AIRFLOW_PORT says."""
    checkout = settings.home()
    port = int(os.environ.get(PORT_VARIABLE) or DEFAULT_PORT)
    return AirflowHome(checkout / "work" / "airflow", checkout, port)


if __name__ == "__main__":
    airflow_home().enter()
    airflow_home().migrate()
