"""One night of a small shop, every stage for real, with users to be forgotten; and a search for them everywhere."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
from psycopg2 import sql

from recjobs import columns as c
from recjobs import storage
from recjobs.manifest import Manifest
from recjobs.plan import Plan, load_plan, plan_run
from recjobs.publish.config import DatabaseConfig
from recjobs.publish.connection import connected
from recjobs.settings import Settings, load_settings
from recjobs.stage_process import perform
from recjobs.stages import manifest_of
from tests.cli.shop import NEWEST, Shop, open_shop

NEEDLES = tuple(f"needle-{number}@example.com" for number in range(24))
"""Users with events on every day, a bad row among them."""
SMALL = """
[extract]
quarantine_limit = 0.5
[retrieve.train]
encoder = "mean"
embedding_size = 8
epochs = 2
[retrieve.search]
candidates = 8
[rank.train]
epochs = 1
[evaluate]
sample_users = 100
"""


@dataclass(frozen=True)
class Night:
    """The shop and its plan, which has run."""

    shop: Shop
    database: DatabaseConfig
    plan_uri: str

    @property
    def settings(self) -> Settings:
        return load_settings(str(self.shop.config))

    @property
    def artefacts(self) -> Path:
        return Path(self.settings.artefacts)

    @property
    def plan(self) -> Plan:
        return load_plan(self.plan_uri)

    def manifest(self, step: str) -> Manifest:
        found = manifest_of(self.plan, step)
        assert found is not None
        return found

    def run(self, ds: date = NEWEST, until: str = "publish", **overrides: object) -> Plan:
        """Plans `ds` anew and runs its steps up to one, in this process; what is done is skipped."""
        return run_steps(self.shop, ds, until, {key.replace("__", "."): value for key, value in overrides.items()})


def run_night(folder: Path, database: DatabaseConfig) -> Night:
    """The shop's newest date, from events to lists."""
    shop = open_shop(folder, database, days=5, users=24, items=10)
    shop.config.write_text(shop.config.read_text() + SMALL)
    for offset in range(5):
        _add_needles(shop, NEWEST - timedelta(days=offset))
    run_steps(shop, NEWEST, "publish", {})
    return Night(shop, database, plan_run(str(shop.config), NEWEST))


def run_steps(shop: Shop, ds: date, until: str, overrides: dict[str, object]) -> Plan:
    """Plans and runs."""
    plan = load_plan(plan_run(str(shop.config), ds, overrides))
    for name, step in plan.steps.items():
        if name == "publish" or manifest_of(plan, name) is None:
            perform(plan, step)
        if name == until:
            break
    return plan


def _add_needles(shop: Shop, day: date) -> None:
    path = shop.events(day)
    events = pl.read_parquet(path)
    views = events.head(len(NEEDLES)).with_columns(pl.Series("user_id", NEEDLES))
    bad = views.with_columns(pl.lit("no such type").alias("event_type"))
    pl.concat([events, views, bad]).write_parquet(path)


def files_with(folder: Path, user: str) -> list[str]:
    """Every file below `folder`, hidden ones too, that has the user in its name or content; Parquet decoded."""
    found = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        text = path.read_bytes()
        if path.suffix == ".parquet":
            text += str(pq.read_table(path).to_pydict()).encode()
        if user.encode() in text or user in path.name:
            found.append(path.relative_to(folder).as_posix())
    return found


def tables_with(database: DatabaseConfig, user: str) -> list[str]:
    """Every table of the schema that has the user's id in any column."""
    found = []
    with connected(database) as connection, connection.cursor() as cursor:
        cursor.execute(
            "select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace "
            "where n.nspname = 'recs' and c.relkind = 'r'"
        )
        for (table,) in cursor.fetchall():
            statement = sql.SQL("select 1 from {} t where position(%s in t::text) > 0 limit 1")
            cursor.execute(statement.format(sql.Identifier("recs", table)), (user,))
            found += [table] if cursor.fetchone() else []
    return found


def kinds(files: list[str]) -> set[str]:
    """`extract/users` and the like: a stage's name, and the first name below the attempt."""
    found = set()
    for parts in (file.split("/") for file in files):
        day = next(place for place, part in enumerate(parts) if part.startswith("ds="))
        found.add("/".join([*parts[:day], parts[day + 3]]))
    return found


def users_of(manifest: Manifest, *folder: str) -> list[str]:
    """The users of a sharded output."""
    found = []
    for part in manifest.parts(*folder):
        with storage.reading(part.uri) as stream:
            found += pl.read_parquet(stream)[c.USER].cast(pl.String).to_list()
    return found
