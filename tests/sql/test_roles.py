"""Rights: the reader has views and functions, no table; functions do not run as their owner."""

from __future__ import annotations

import psycopg2
import pytest

from recjobs.publish.generations import LIST_TABLES
from recjobs.publish.migrations import scripts
from tests.sql.conftest import Ask

CALLS = (
    "select * from recs.get_list('u1')",
    "select * from recs.similar_items('i1')",
    "select * from recs.session_list(array['i1'])",
    "select * from recs.lists_as_of('2026-01-05')",
    "select * from recs.lists",
    "select * from recs.versions",
    "select * from recs.live_generation",
)


@pytest.fixture
def reader(ask: Ask) -> Ask:
    ask("reset role")
    ask("set session authorization recs_reader")
    return ask


@pytest.mark.parametrize("call", CALLS)
def test_the_reader_reads_through_views_and_functions(reader: Ask, call: str) -> None:
    assert reader(call)


@pytest.mark.parametrize(
    "table", [*LIST_TABLES, "generations", "live", "audit", "item_availability", "forgotten_users", "user_lists_g1"]
)
def test_the_reader_has_no_right_on_a_table(reader: Ask, table: str) -> None:
    for statement in (f"select * from recs.{table}", f"delete from recs.{table}"):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            reader(statement)


def test_the_reader_can_not_change_what_views_show(reader: Ask) -> None:
    for statement in ("delete from recs.live_pointer", "update recs.stored_item_lists set scores = '{}'"):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            reader(statement)


def test_the_reader_can_make_nothing(reader: Ask) -> None:
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        reader("create table recs.mine (n integer)")


def test_everything_belongs_to_the_writer(ask: Ask) -> None:
    statement = (
        "select distinct pg_get_userbyid(relowner) from pg_class c join pg_namespace n on n.oid = c.relnamespace "
        "where n.nspname = 'recs'"
    )
    assert ask(statement) == [("recs_writer",)]


def test_functions_are_stable_and_run_with_the_callers_rights(ask: Ask) -> None:
    found = ask(
        "select proname, provolatile, prosecdef from pg_proc p join pg_namespace n on n.oid = pronamespace "
        "where nspname = 'recs' order by proname"
    )
    named = sorted(script.name.split("/")[1] for script in scripts() if script.name.startswith("functions/"))
    assert found == [(name, "s", False) for name in named]
