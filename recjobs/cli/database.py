"""`recjobs db`: the database that the app reads."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

import typer
from psycopg2.extensions import make_dsn, parse_dsn
from rich.markup import escape

from recjobs.cli.options import DEFAULT_CONFIG, AsJson, Config, Overrides, settings_of
from recjobs.cli.printing import output, print_json, print_table
from recjobs.publish import embedded, inspection
from recjobs.publish.connection import connected, database_url
from recjobs.publish.generations import Generation
from recjobs.publish.inspection import Overview
from recjobs.publish.migrations import Status
from recjobs.publish.migrations import migrate as apply_migrations
from recjobs.publish.migrations import status as migration_status

commands = typer.Typer(no_args_is_help=True, help="The database that the app reads: migrate it, find it, look into it.")


@commands.command()
def migrate(config: Config = DEFAULT_CONFIG, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Bring the schema, its functions and roles up to date. Again: nothing to do."""
    settings = settings_of(config, overrides)
    with connected(settings.database, purpose="recjobs migrate") as connection:
        before = apply_migrations(connection, settings.database)
        after = migration_status(connection, settings.database)
    if as_json:
        print_json({"applied": before.pending, "now": _values(after)})
        return
    output.print(f"schema {settings.database.schema_name}: {len(before.pending)} applied, {len(after.applied)} in all")
    for name in before.pending:
        output.print(f"  {name}", style="dim")


@commands.command()
def status(config: Config = DEFAULT_CONFIG, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Server, migrations, roles, who can read, what is live, and the generations stored with their sizes."""
    found = inspection.overview(settings_of(config, overrides))
    if as_json:
        print_json(_record(found))
        return
    for name, value in _facts(found):
        output.print(f"[bold]{name}[/]: {escape(value)}")
    if found.stored:
        rows = [
            [str(one.generation.ds), one.generation.seq, one.generation.state, _size(one.size)] for one in found.stored
        ]
        print_table(f"stored in schema {found.schema}", ["date", "seq", "state", "size"], rows)


@commands.command()
def url(config: Config = DEFAULT_CONFIG, overrides: Overrides = None) -> None:
    """Print the database's URL, password included; starts the embedded server when none is configured."""
    typer.echo(database_url(settings_of(config, overrides).database))


@commands.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def psql(context: typer.Context, config: Config = DEFAULT_CONFIG, overrides: Overrides = None) -> None:
    """Open psql on the database. What follows `--` is psql's: `recjobs db psql -c shop.toml -- -c 'select 1'`."""
    program = shutil.which("psql") or str(embedded.binary("psql"))
    parts = parse_dsn(database_url(settings_of(config, overrides).database))
    # In the environment, not among the arguments: those every user of the machine can read.
    environment = {**os.environ, "PGPASSWORD": parts.pop("password", "")}
    os.execve(program, [program, make_dsn(**parts), *context.args], environment)


def _facts(found: Overview) -> Iterator[tuple[str, str]]:
    """What there is to say besides the generations, each with the fix where something is missing."""
    yield "server", f"PostgreSQL {found.server} at {found.place}"
    yield "schema", f"{found.schema}, used as {found.acts_as}"
    for state, names in _values(found.migrations).items():
        shown = f" ({', '.join(names)})" if names and state != "applied" else ""
        yield f"migrations {state}", f"{len(names)}{shown}"
    for role in found.missing_roles:
        yield "role missing", f"{role}. `recjobs db migrate` makes it, or says what an administrator has to run"
    logins = [
        login.name if login.reads else f"{login.name} (can NOT read: see docs/reading.md)" for login in found.logins
    ]
    yield "logins that read", ", ".join(logins) or "none; docs/reading.md says how to make one"
    if not found.has_tables:
        yield "lists", "not looked at: `recjobs db migrate` mends the schema, or says what to do"
        return
    live = found.live
    yield "live", f"{live}, run {live.run}, since {live.last_live_at:%Y-%m-%d %H:%M} UTC" if live else "nothing yet"
    for one in found.held_up:
        yield "held up", f"{one.generation}, {_size(one.size)}: pruned, and not dropped while somebody reads for long"


def _record(found: Overview) -> dict[str, Any]:
    return {
        **_values(found.migrations),
        "place": found.place,
        "server": found.server,
        "schema": found.schema,
        "acts_as": found.acts_as,
        "missing_roles": list(found.missing_roles),
        "logins": {login.name: login.reads for login in found.logins},
        "live": _names(found.live) if found.live else None,
        "stored": [{**_names(one.generation), "bytes": one.size} for one in found.stored],
        "held_up": [{**_names(one.generation), "bytes": one.size} for one in found.held_up],
    }


def _names(generation: Generation) -> dict[str, Any]:
    return {"ds": generation.ds, "seq": generation.seq, "run": generation.run, "state": generation.state}


def _size(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"


def _values(found: Status) -> dict[str, list[str]]:
    return {
        "applied": list(found.applied),
        "pending": list(found.pending),
        "changed": list(found.changed),
        "unknown": list(found.unknown),
    }
