"""`recjobs db`: the database that the app reads."""

from __future__ import annotations

import os
import shutil

import typer
from psycopg2.extensions import make_dsn, parse_dsn

from recjobs.cli.options import DEFAULT_CONFIG, AsJson, Config, Overrides, settings_of
from recjobs.cli.printing import output, print_json
from recjobs.publish import embedded
from recjobs.publish.connection import connected, database_url
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
    """Which migrations are applied, pending, or changed since they were applied."""
    settings = settings_of(config, overrides)
    with connected(settings.database, purpose="recjobs migrate") as connection:
        found = migration_status(connection, settings.database)
    if as_json:
        print_json(_values(found))
        return
    for state, names in _values(found).items():
        output.print(f"{state}: {len(names)}", style="bold")
        for name in names:
            output.print(f"  {name}")


@commands.command()
def url(config: Config = DEFAULT_CONFIG, overrides: Overrides = None) -> None:
    """Print the database's URL, password included; starts the embedded server when none is configured."""
    typer.echo(database_url(settings_of(config, overrides).database))


@commands.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def psql(context: typer.Context, config: Config = DEFAULT_CONFIG) -> None:
    """Open psql on the database; what follows is passed on, e.g. `recjobs db psql -- -c 'select 1'`."""
    program = shutil.which("psql") or str(embedded.binary("psql"))
    parts = parse_dsn(database_url(settings_of(config).database))
    # In the environment, not among the arguments: those every user of the machine can read.
    environment = {**os.environ, "PGPASSWORD": parts.pop("password", "")}
    os.execve(program, [program, make_dsn(**parts), *context.args], environment)


def _values(found: Status) -> dict[str, list[str]]:
    return {"applied": list(found.applied), "pending": list(found.pending), "changed": list(found.changed)}
