"""`make run`: the marketplace, the embedded Postgres, and the last two nights through Airflow."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from recjobs.airflow import marketplace, report, services
from recjobs.airflow.following import Follower
from recjobs.airflow.home import AirflowHome, airflow_home
from recjobs.airflow.nights import SUCCESS, Night, Nights
from recjobs.cli.printing import log_progress, progress
from recjobs.publish import embedded
from recjobs.settings import load_settings

CONFIG = "marketplace"
NIGHTS = 2


def run() -> int:
    """Plays the demo's last two nights and reports on them. Exit code 0 when both are green."""
    started = time.perf_counter()
    home = airflow_home()
    if services.running(home):
        progress.print(
            f"Airflow is running at {home.url} and would take these runs over. Start nightly_recommendations there, "
            "or stop it with `make down` first.",
            style="red",
        )
        return 1
    prepare()
    nights = run_nights(home, last_dates(NIGHTS))
    if len(nights) < NIGHTS or any(night.state != SUCCESS for night in nights):
        report.print_failure(home, nights)
        return 1
    report.print_report(load_settings(CONFIG), nights, time.perf_counter() - started)
    return 0


def prepare() -> None:
    """The marketplace reaching to yesterday, and the database, started."""
    log_progress()
    settings = load_settings(CONFIG)
    if settings.database.url is None:
        embedded.start(settings.database)
    newest = last_dates(1)[0]
    days = marketplace.reach(newest, CONFIG)
    progress.print(f"marketplace: {len(days)} new days, events until {newest}" if days else f"events until {newest}")


def last_dates(count: int) -> list[date]:
    """The last complete UTC days, oldest first."""
    today = datetime.now(UTC).date()
    return [today - timedelta(days=back) for back in range(count, 0, -1)]


def run_nights(home: AirflowHome, dates: Sequence[date]) -> list[Night]:
    """Runs the DAG for `dates` in a process of its own and follows it. Fewer nights than dates: it stopped there."""
    everything = home.logs / "nights" / f"{dates[-1]}.log"
    follower = Follower(progress, home.logs, everything)
    with tempfile.TemporaryDirectory(prefix="recjobs-") as scratch:
        result = Path(scratch) / "nights.json"
        command = [sys.executable, "-m", "recjobs.airflow.nights", CONFIG, str(result), *map(str, dates)]
        with subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**os.environ, **home.environment(), "AIRFLOW__LOGGING__JSON_LOGS": "True"},
        ) as process:
            assert process.stdout is not None
            follower.follow(process.stdout)
        return Nights.model_validate_json(result.read_text()).nights if result.exists() else []
