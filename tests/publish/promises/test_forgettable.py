"""Forgettable: whatever loads, is promoted or killed meanwhile, a forgotten user has no list (DESIGN §8.8)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import psycopg2
import pytest
from psycopg2 import extensions, sql

from recjobs import tombstones
from recjobs.errors import PublishError
from recjobs.publish import forgetting, loading, operations, promotion, reading
from recjobs.publish.config import DatabaseConfig
from recjobs.publish.connection import connected
from recjobs.tombstones import Tombstone, digest_of
from tests.publish.composed import Night, night, settings_for
from tests.publish.promises.state import live_number

USER = "u7"
DATASET = "planted"
Ask = Callable[..., list[tuple[object, ...]]]


def stone(user: str = USER) -> Tombstone:
    return Tombstone(
        digest=digest_of(DATASET, user), dataset=DATASET, forgotten_at=datetime.now(UTC), who="ann", why="asked"
    )


def forget(database: DatabaseConfig, user: str = USER) -> dict[str, int]:
    with connected(database, purpose="forget") as connection:
        return forgetting.forget(connection, database, stone(user), user)


def ask(database: DatabaseConfig, statement: str, *values: object) -> list[tuple[object, ...]]:
    with connected(database) as connection, connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall()


def tables_with(database: DatabaseConfig, user: str) -> list[str]:
    """Every table of the schema that has the user's id in any of its columns, partitions alone too."""
    found = []
    with connected(database) as connection, connection.cursor() as cursor:
        cursor.execute(
            "select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace "
            "where n.nspname = 'recs' and c.relkind in ('r', 'p')"
        )
        for (table,) in cursor.fetchall():
            statement = sql.SQL(r"select 1 from {} t where t::text ~ %s limit 1").format(sql.Identifier("recs", table))
            cursor.execute(statement, (rf"\y{user}\y",))
            found += [table] if cursor.fetchone() else []
    return sorted(found)


@contextmanager
def stopped_before(function: str, module: object, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A publisher that reaches `function` waits there for the block's event; `reached` is set when it has come."""
    reached, go_on = threading.Event(), threading.Event()
    real = getattr(module, function)

    def wait(*values: object, **named: object) -> object:
        reached.set()
        assert go_on.wait(30)
        return real(*values, **named)

    monkeypatch.setattr(module, function, wait)
    go_on.reached = reached  # type: ignore[attr-defined]
    yield go_on
    go_on.set()


def published_beside(one: Night, stop: threading.Event, meanwhile: Callable[[], object]) -> dict[str, object]:
    """Publishes in a thread that stops; does `meanwhile`; lets it go on."""
    outcome: dict[str, object] = {}

    def publish() -> None:
        try:
            outcome["manifest"] = one.publish()
        except Exception as error:
            outcome["error"] = error

    thread = threading.Thread(target=publish)
    thread.start()
    assert stop.reached.wait(30)  # type: ignore[attr-defined]
    outcome["meanwhile"] = meanwhile()
    stop.set()
    thread.join(60)
    assert not thread.is_alive()
    return outcome


def test_forgettable_live_and_kept_generations_lose_the_user_and_nobody_else(
    tmp_path: Path, database: DatabaseConfig
) -> None:
    for day in (3, 4, 5):
        night(tmp_path, database, ds=f"2026-01-0{day}").publish()
    settings = settings_for(tmp_path, database)
    before = dict(reading.iter_live_lists(settings))
    assert tables_with(database, USER) == ["user_lists", *(f"user_lists_g{n}" for n in (1, 2, 3))]
    assert forget(database) == {f"user_lists_g{n}": 2 for n in (1, 2, 3)}
    assert tables_with(database, USER) == []
    assert dict(reading.iter_live_lists(settings)) == {user: items for user, items in before.items() if user != USER}
    fallback = [row.item_id for row in reading.show(settings, "nobody")]
    assert [row.item_id for row in reading.show(settings, USER)] == fallback != []


def test_forgettable_again_and_for_a_stranger_changes_nothing(tmp_path: Path, database: DatabaseConfig) -> None:
    night(tmp_path, database).publish()
    forget(database)
    assert forget(database) == {}
    assert forget(database, "a stranger") == {}
    assert (
        ask(database, "select action, generation, who, why from recs.audit where action = 'forget'")
        == [("forget", None, "ann", "asked")] * 2
    )
    assert len(ask(database, "select user_id from recs.user_lists where surface = 'home'")) == 19


def test_forgettable_the_id_itself_is_kept_nowhere(tmp_path: Path, database: DatabaseConfig) -> None:
    night(tmp_path, database, users=["some.body@example.com", "u1"]).publish()
    forget(database, "some.body@example.com")
    assert tables_with(database, "some.body@example.com") == []


@pytest.mark.parametrize("user", ["u7", "ünï→ and 'quotes'", "with\\back%slash", "x" * 2000])
def test_forgettable_the_database_makes_the_same_digest_as_we(
    tmp_path: Path, database: DatabaseConfig, user: str
) -> None:
    """Rows that forgetting could not see are found by digest alone."""
    one = night(tmp_path, database, users=["u1", user])
    (tmp_path / "empty").mkdir()
    night(tmp_path / "empty", database, ds="2026-01-01", users=["u2"]).publish()
    forget(database, user)
    one.publish()
    assert ask(database, "select user_id from recs.user_lists where surface = 'home' order by 1") == [("u1",), ("u2",)]


@pytest.mark.parametrize("point", ["_copy_all", "_refuse_missing_rows", "_key_and_analyse", "_attach"])
def test_forgettable_while_a_night_loads(
    tmp_path: Path, database: DatabaseConfig, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    night(tmp_path, database, ds="2026-01-04").publish()
    one = night(tmp_path, database)
    with stopped_before(point, loading, monkeypatch) as stop:
        outcome = published_beside(one, stop, lambda: forget(database))
    assert "error" not in outcome
    assert outcome["manifest"].metrics["live"] == 1  # type: ignore[attr-defined]
    outcome["manifest"].raise_if_refused()  # type: ignore[attr-defined]
    assert tables_with(database, USER) == []
    assert len(ask(database, "select from recs.user_lists where generation = 2")) == 2 * 19


def test_forgettable_while_copied_rows_are_not_committed(
    tmp_path: Path, database: DatabaseConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forgetting deletes and vacuums while COPY holds rows that nobody else can see."""
    one = night(tmp_path, database)
    reached, go_on = threading.Event(), threading.Event()
    real = loading.encode

    def slow(*values: object) -> Iterator[bytes]:
        *pieces, last = real(*values)  # type: ignore[arg-type]
        yield from pieces
        reached.set()
        assert go_on.wait(30)
        yield last

    monkeypatch.setattr(loading, "encode", slow)
    go_on.reached = reached  # type: ignore[attr-defined]
    outcome = published_beside(one, go_on, lambda: forget(database))
    assert outcome["meanwhile"] == {}
    assert "error" not in outcome
    assert tables_with(database, USER) == []


@pytest.mark.parametrize("fenced", [False, True])
def test_forgettable_between_load_and_promotion(
    tmp_path: Path, database: DatabaseConfig, monkeypatch: pytest.MonkeyPatch, fenced: bool
) -> None:
    if fenced:
        night(tmp_path, database, ds="2026-01-09").publish()
    one = night(tmp_path, database)
    with stopped_before("publish", promotion, monkeypatch) as stop:
        outcome = published_beside(one, stop, lambda: forget(database))
    assert outcome["manifest"].metrics["live"] == (0 if fenced else 1)  # type: ignore[attr-defined]
    assert tables_with(database, USER) == []


def test_forgettable_lists_that_can_be_looked_back_at_before_promotion_are_without_the_user_too(
    tmp_path: Path, database: DatabaseConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget(database)
    with stopped_before("publish", promotion, monkeypatch) as stop:
        outcome = published_beside(night(tmp_path, database), stop, lambda: tables_with(database, USER))
    assert outcome["meanwhile"] == []


def test_forgettable_lists_made_without_the_user_are_not_looked_through(
    tmp_path: Path, database: DatabaseConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget(database)
    one = night(tmp_path, database, users=["u1"])
    compose = one.inputs["compose"].model_copy(update={"forgotten": {digest_of(DATASET, USER): 3}})
    monkeypatch.setattr(forgetting, "_deleted", lambda *_: pytest.fail("rows are looked through for nobody"))
    manifests = {**one.inputs.manifests, "compose": compose}
    assert replace(one, inputs=replace(one.inputs, manifests=manifests)).publish().metrics["live"] == 1


def test_forgettable_rows_that_a_killed_forget_had_not_reached_do_not_go_live(
    tmp_path: Path, database: DatabaseConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in (3, 4, 5):
        night(tmp_path, database, ds=f"2026-01-0{day}").publish()
    settings = settings_for(tmp_path, database)

    def killed(*_: object) -> None:
        raise SystemExit("killed after the tombstone")

    with monkeypatch.context() as patch:
        patch.setattr(forgetting, "_delete_user", killed)
        with pytest.raises(SystemExit):
            forget(database)
    assert "user_lists_g2" in tables_with(database, USER)
    operations.rollback(settings, who="ann", why="odd")
    assert "user_lists_g2" not in tables_with(database, USER)
    operations.promote(settings, date(2026, 1, 3), force=True, who="ann", why="odd")
    assert "user_lists_g1" not in tables_with(database, USER)
    forget(database)
    assert tables_with(database, USER) == []


def test_forgettable_a_rollback_after_a_finished_forget_looks_through_nothing(
    tmp_path: Path, database: DatabaseConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in (4, 5):
        night(tmp_path, database, ds=f"2026-01-0{day}").publish()
    forget(database)
    monkeypatch.setattr(forgetting, "_deleted", lambda *_: pytest.fail("rows are looked through under the lock"))
    operations.rollback(settings_for(tmp_path, database), who="ann", why="odd")
    assert live_number(tmp_path, database) == ("2026-01-04", 1)
    assert tables_with(database, USER) == []


def test_forgettable_a_wiped_database_hears_of_it_from_the_artefacts_and_the_other_way_round(
    tmp_path: Path, database: DatabaseConfig
) -> None:
    folder = str(tmp_path / "forgotten")
    tombstones.add(folder, stone())
    one = night(tmp_path, database)
    replace(one, inputs=replace(one.inputs, tombstones=folder)).publish()
    assert tables_with(database, USER) == []
    assert ask(database, "select digest, who from recs.forgotten_users") == [(digest_of(DATASET, USER), "ann")]
    later, elsewhere = night(tmp_path, database, ds="2026-01-06"), str(tmp_path / "another root" / "forgotten")
    replace(later, inputs=replace(later.inputs, tombstones=elsewhere)).publish()
    assert tombstones.digests(elsewhere) == (digest_of(DATASET, USER),)


def test_forgettable_lists_in_a_database_that_was_away_go_with_the_next_publication(
    tmp_path: Path, database: DatabaseConfig
) -> None:
    night(tmp_path, database, ds="2026-01-04").publish()
    folder = str(tmp_path / "forgotten")
    tombstones.add(folder, stone())
    one = night(tmp_path, database)
    replace(one, inputs=replace(one.inputs, tombstones=folder)).publish()
    assert tables_with(database, USER) == []


def test_forgettable_undone_on_purpose_the_user_is_published_again_and_the_audit_says_so(
    tmp_path: Path, database: DatabaseConfig
) -> None:
    folder = str(tmp_path / "forgotten")
    tombstones.add(folder, stone())
    forget(database)
    night(tmp_path, database, ds="2026-01-04").publish()
    with connected(database) as connection:
        assert forgetting.remember(connection, database, folder, stone())
        assert not forgetting.remember(connection, database, folder, stone())
    assert tombstones.digests(folder) == ()
    later = night(tmp_path, database)
    replace(later, inputs=replace(later.inputs, tombstones=folder)).publish()
    assert ask(database, "select distinct generation from recs.user_lists where user_id = %s", USER) == [(2,)]
    said = ask(database, "select action, subject from recs.audit where action like '%%forget' order by id")
    assert said == [(action, digest_of(DATASET, USER)) for action in ("forget", "unforget")]


def test_forgettable_the_same_run_published_again_after_a_forget_is_whole(
    tmp_path: Path, database: DatabaseConfig
) -> None:
    one = night(tmp_path, database)
    one.publish()
    forget(database)
    one.publish().raise_if_refused()
    without = night(tmp_path, database, users=[f"u{n}" for n in range(20) if f"u{n}" != USER])
    without.publish().raise_if_refused()
    assert tables_with(database, USER) == []


def test_forgettable_no_reader_waits(tmp_path: Path, database: DatabaseConfig) -> None:
    """Behind a reader's open transaction, and with it open, forgetting goes through and readers too."""
    night(tmp_path, database).publish()
    with connected(database) as reader, connected(database) as other:
        reader.set_session(isolation_level=extensions.ISOLATION_LEVEL_REPEATABLE_READ)
        with reader.cursor() as cursor, other, other.cursor() as second:
            cursor.execute("select count(*) from recs.get_list(%s)", (USER,))
            forget(database)
            second.execute("set lock_timeout = '50ms'")
            second.execute("select count(*) from recs.get_list(%s)", (USER,))
            cursor.execute("select count(*) from recs.get_list(%s)", (USER,))
    assert tables_with(database, USER) == []


def test_forgettable_another_data_sets_lists_are_not_touched(tmp_path: Path, database: DatabaseConfig) -> None:
    night(tmp_path, database).publish()
    other = stone().model_copy(update={"dataset": "another", "digest": digest_of("another", USER)})
    with connected(database) as connection, pytest.raises(PublishError, match="holds the lists of dataset 'planted'"):
        forgetting.forget(connection, database, other, USER)
    folder = str(tmp_path / "forgotten")
    tombstones.add(folder, other)
    later = night(tmp_path, database, ds="2026-01-06")
    replace(later, inputs=replace(later.inputs, tombstones=folder)).publish()
    assert ask(database, "select * from recs.forgotten_users") == []
    assert len(ask(database, "select from recs.user_lists where user_id = %s", USER)) == 4


def test_forgettable_a_reader_sees_nothing_of_it(tmp_path: Path, database: DatabaseConfig) -> None:
    night(tmp_path, database).publish()
    forget(database)
    with connected(database) as connection, connection.cursor() as cursor:
        cursor.execute("reset role")
        cursor.execute("set session authorization recs_reader")
        connection.commit()
        for statement in ("select * from recs.forgotten_users", "select * from recs.audit"):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege), connection:
                cursor.execute(statement)
