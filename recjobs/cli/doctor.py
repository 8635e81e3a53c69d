"""`recjobs doctor`: is everything there that a run needs, and if not, what to do."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import typer

from recjobs import storage
from recjobs.cli.options import DEFAULT_CONFIG, AsJson, Config, Overrides, settings_of
from recjobs.cli.printing import output, print_json
from recjobs.cli.rules import rules_finding
from recjobs.errors import MissingInputError, PublishError, RecjobsError
from recjobs.names import check_names
from recjobs.plan import make_plan
from recjobs.publish.connection import connected
from recjobs.publish.migrations import status as migration_status
from recjobs.publish.reading import versions
from recjobs.settings import Settings, config_path
from recjobs.sources.pinning import event_days, pin_sources

PROBE = b"recjobs doctor"
FREE_BYTES = 2 << 30
"""Free disk below which a run of any size is a risk."""


@dataclass(frozen=True)
class Finding:
    """What one check found."""

    name: str
    passed: bool
    detail: str


def doctor(config: Config = DEFAULT_CONFIG, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Check config, sources, storage and database, and say what to fix. Exit code 1 if anything fails.

    Starts the embedded database if it is not running; changes nothing else.
    """
    findings = examine(config, overrides)
    if as_json:
        print_json([vars(finding) for finding in findings])
    else:
        for finding in findings:
            mark = "[green]ok  [/]" if finding.passed else "[red]FAIL[/]"
            output.print(f"{mark} [bold]{finding.name}[/]:", end=" ")
            output.print(finding.detail, markup=False, highlight=False)
    if not all(finding.passed for finding in findings):
        raise typer.Exit(1)


def examine(config: str, overrides: list[str] | None = None) -> list[Finding]:
    """The findings, config first; without a config that loads there is nothing else to look at."""
    try:
        settings = settings_of(config, overrides)
    except RecjobsError as error:
        return [Finding("config", False, str(error))]
    checks: list[tuple[str, Callable[[Settings], str]]] = [
        ("names", _names),
        ("events", _events),
        ("items", _items),
        ("users", _users),
        ("rules", rules_finding),
        ("plan", _plan(config)),
        ("storage", _storage),
        ("database", _database),
    ]
    return [Finding("config", True, str(config_path(config))), *(_run(name, check, settings) for name, check in checks)]


def _run(name: str, check: Callable[[Settings], str], settings: Settings) -> Finding:
    try:
        return Finding(name, True, check(settings))
    except RecjobsError as error:
        return Finding(name, False, str(error))


def _names(settings: Settings) -> str:
    check_names(settings)
    return "every column, event type and task that settings name is there"


def _events(settings: Settings) -> str:
    days = event_days(settings)
    if not days:
        raise MissingInputError(
            f"{settings.events.path} has no day of events. Write them as date=YYYY-MM-DD/*.{settings.events.format}, "
            "or make some with `recjobs generate` or `recjobs import`."
        )
    return f"{len(days)} days, {days[0]} to {days[-1]}, in {settings.events.path}"


def _items(settings: Settings) -> str:
    if settings.items is None:
        return "none configured: items are known by their events alone"
    return _snapshot(settings, "items")


def _users(settings: Settings) -> str:
    if settings.users is None:
        return "none configured: users are known by their events alone"
    return _snapshot(settings, "users")


def _snapshot(settings: Settings, kind: str) -> str:
    files = getattr(pin_sources(settings, event_days(settings)[-1]), kind)
    if not files:
        raise MissingInputError(f"no snapshot of {kind} at or before the newest day. Deliver one, or remove [{kind}].")
    day = files[0].day
    return f"newest snapshot {day}" if day else "undated snapshot: only its static columns are used"


def _plan(config: str) -> Callable[[Settings], str]:
    def check(settings: Settings) -> str:
        days = event_days(settings)
        if not days:
            raise MissingInputError("nothing to plan without events.")
        plan = make_plan(settings, config, days[-1])
        label = timedelta(days=settings.time.label_days)
        return f"a run for {days[-1]} has {len(plan.steps)} steps; outcomes from {days[-1] - label} on"

    return check


def _storage(settings: Settings) -> str:
    uri = storage.join(settings.artefacts, "doctor.txt")
    try:
        storage.write_bytes(uri, PROBE)
        if storage.read_bytes(uri) != PROBE:
            raise MissingInputError(f"{uri} reads back something else than was written.")
        storage.delete_file(uri)
    except OSError as error:
        raise MissingInputError(
            f"{settings.artefacts} can't be written ({error.strerror}). Set `root` to a folder or bucket that can."
        ) from error
    if storage.is_remote(uri):
        return f"{settings.artefacts} can be written and read"
    free = shutil.disk_usage(settings.artefacts).free
    if free < FREE_BYTES:
        raise MissingInputError(f"{settings.artefacts}: {free >> 20} MiB free. Make room, or set `root` elsewhere.")
    return f"{settings.artefacts} can be written; {free >> 30} GiB free"


def _database(settings: Settings) -> str:
    with connected(settings.database, purpose="recjobs doctor") as connection:
        pending = migration_status(connection, settings.database).pending
        version = connection.info.server_version // 10_000
    if not pending:
        _refuse_other_dataset(settings)
    if pending:
        return f"PostgreSQL {version} answers; {len(pending)} migrations to apply: the next run does it"
    return f"PostgreSQL {version} answers, schema {settings.database.schema_name} is up to date"


def _refuse_other_dataset(settings: Settings) -> None:
    others = {generation.dataset for generation in versions(settings)} - {settings.dataset}
    if others:
        raise PublishError(
            f"schema {settings.database.schema_name} holds the lists of {sorted(others)}, not of {settings.dataset!r}. "
            "Set [database] schema_name to a name of this data set's own."
        )
