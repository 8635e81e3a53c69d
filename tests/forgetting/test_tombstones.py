"""Tombstones, and what they are compared with: ids, rows that were never cut into cells, pages that people read."""

from __future__ import annotations

import hashlib
import html
import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from recjobs import columns as c
from recjobs import stages, tombstones
from recjobs.errors import InputsRewrittenError, SettingsError
from recjobs.evaluate.template import PAGE
from recjobs.extract.splitting import without_forgotten
from recjobs.forgetting import documents, files, operation
from recjobs.forgetting.files import Scrub
from recjobs.forgetting.runs import user_columns
from recjobs.forgetting.tables import rewrite_parquet, rows_in_parquet
from recjobs.plan import Step
from recjobs.settings import load_settings
from recjobs.sources.reading import Block, quarantine_frame
from recjobs.tombstones import Forgotten, Tombstone, digest_of, forgotten, names_forgotten

ANN = forgotten("shop", [digest_of("shop", "ann")])
ODD = "<b>&'\"ö b"


def stone(user: str) -> Tombstone:
    return Tombstone(
        digest=digest_of("shop", user), dataset="shop", forgotten_at=datetime.now(UTC), who="clerk", why="asked"
    )


def test_the_digest_is_the_one_that_is_documented() -> None:
    assert digest_of("shop", "ö1") == hashlib.sha256("shop\0ö1".encode()).hexdigest()
    with pytest.raises(SettingsError, match="is not UTF-8 text"):
        digest_of("shop", "\udcff")


def test_a_tombstone_is_set_once_and_lifted_on_record(tmp_path: Path) -> None:
    folder = str(tmp_path)
    assert tombstones.add(folder, stone("ann"))
    assert not tombstones.add(folder, stone("ann").model_copy(update={"who": "somebody else"}))
    found = tombstones.get(folder, digest_of("shop", "ann"))
    assert found is not None
    assert found.who == "clerk"
    assert tombstones.lift(folder, stone("ann"))
    assert not tombstones.lift(folder, stone("ann"))
    assert tombstones.digests(folder) == ()
    assert tombstones.add(folder, stone("ann"))
    assert tombstones.lift(folder, stone("ann"))
    assert tombstones.lifted(folder) == tuple(f"{digest_of('shop', 'ann')}.lifted-{n:04d}" for n in (1, 2))


def test_another_data_sets_user_of_that_name_is_somebody_else() -> None:
    assert ANN.names("ann")
    assert not forgotten("another", ANN.digests).names("ann")


def test_rows_by_digest_and_by_name_are_the_same() -> None:
    users = pa.array(["ann", None, "bob", "ann", ""])
    named = Forgotten("shop", ANN.digests, frozenset({"ann"}))
    for found in (ANN, named):
        assert found.rows(users).tolist() == [True, False, False, True, False]
        assert found.rows(pa.chunked_array([users, users.dictionary_encode().cast(pa.string())])).sum() == 4
    assert ANN.rows(pa.array([], pa.string())).tolist() == []


@pytest.mark.parametrize(
    ("row", "whose"),
    [
        ({"user_id": "ann", "item_id": "i1"}, True),
        ({"user_id": "bob", "item_id": "ann"}, False),
        ({"user_id": None}, False),
        ("i1,ann,too,many,cells", True),
        ('"ann";i1', True),
        ("i1,annabel", False),
    ],
)
def test_a_quarantined_row_is_told_by_its_user_cell_or_by_any_cell_where_it_has_none(row: object, whose: bool) -> None:
    assert names_forgotten(json.dumps(row), ANN) is whose


def test_a_source_that_calls_users_otherwise_or_numbers_them() -> None:
    numbered = forgotten("shop", [digest_of("shop", "17850")])
    assert user_columns({"events": {"columns": {c.USER: "CustomerID"}}, "users": {}}) == ("CustomerID",)
    assert user_columns({"events": {"path": "x"}, "users": {"columns": {c.USER: "id"}}}) == ("id", c.USER)
    assert names_forgotten(json.dumps({"CustomerID": 17850}), numbered, ("CustomerID", "id"))
    assert names_forgotten(json.dumps({"id": "17850"}), numbered, ("CustomerID", "id"))
    assert not names_forgotten(json.dumps({"id": None}), forgotten("shop", [digest_of("shop", "None")]), ("id",))


def test_extract_drops_rows_that_could_not_be_cut_into_cells_too() -> None:
    typed = pl.DataFrame({c.USER: ["ann", "bob", None], c.ITEM: ["i1", "i2", "i3"]})
    malformed = quarantine_frame("f.csv", [5, 6], ["cells", "cells"], [json.dumps("x,ann,y"), json.dumps("x,bob,y")])
    block = Block("f.csv", typed, typed, pl.Series([2, 3, 4]), pl.Series([None] * 3, dtype=pl.String), malformed)
    left = without_forgotten(block, ANN)
    assert left.typed[c.USER].to_list() == left.raw[c.USER].to_list() == ["bob", None]
    assert left.lines.to_list() == [3, 4]
    assert left.malformed[c.LINE].to_list() == [6]
    assert block.rows_read - left.rows_read == 2


def test_a_rewritten_file_keeps_types_row_groups_and_compression(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    source, target = str(tmp_path / "a.parquet"), str(tmp_path / "b.parquet")
    table = pa.table(
        {
            c.USER: pa.array(["ann", "bob", "cid", "dan"]),
            c.VECTOR: pa.array([[1.0, 2.0]] * 4, pa.list_(pa.float32())),
            c.TIMESTAMP: pa.array([1, 2, 3, None], c.TIME_TYPE),
        }
    )
    pq.write_table(table, source, compression="none", use_dictionary=[c.USER], row_group_size=2)
    rows = rows_in_parquet(source, ANN)
    assert rows is not None
    assert rows.count == 1
    rewrite_parquet(source, target, ANN)
    before, after = pq.ParquetFile(source), pq.ParquetFile(target)
    assert after.schema_arrow.equals(before.schema_arrow)
    assert after.read().equals(table.slice(1))
    assert after.metadata.row_group(0).column(1).compression == "UNCOMPRESSED"
    assert not after.metadata.row_group(0).column(1).has_dictionary_page
    assert after.num_row_groups == 2
    assert rows_in_parquet(target, ANN) is None
    pq.write_table(table.slice(0, 1), source)
    rewrite_parquet(source, target, ANN)
    assert pq.read_table(target).num_rows == 0
    assert rows_in_parquet(target, ANN) is None


def test_the_report_loses_one_user_and_keeps_the_others_whatever_their_ids_look_like() -> None:
    head = PAGE.index("{% for sample in samples %}")
    assert PAGE[head:].startswith("{% for sample in samples %}\n<h3>{{ sample.user }} <span")
    one = '<h3>{} <span class="quiet">warm, 3 events</span></h3>\n<div class="pair">\n<table>\n</table>\n</div>\n'
    page = "<h2>Some users</h2>\n" + "".join(one.format(html.escape(user)) for user in ("ann", ODD, "bob")) + "</body>"
    odd = forgotten("shop", [digest_of("shop", ODD)])
    assert documents.samples_in(page, odd) == 1
    left = documents.without_samples(page, odd)
    assert left == page.replace(one.format(html.escape(ODD)), "")


def test_the_data_report_adds_up_afterwards_and_its_example_is_gone() -> None:
    report = {
        "read": 10, "kept": 6, "quarantined": 2, "duplicates": 1, "before_window": 1, "reasons": {"bad": 2},
        "examples": {"bad": 'f.csv:7 {"user_id": "ann"}'}, "users": {"quarantined": 0, "reasons": {}, "examples": {}},
    }  # fmt: skip
    after = json.loads(documents.corrected_report(json.dumps(report).encode(), [("f.csv", 7, "bad")], 2, {"f.csv"}))
    parts = ("kept", "quarantined", "duplicates", "before_window", "forgotten")
    assert [after[name] for name in parts] == [4, 1, 1, 1, 3]
    assert after["read"] == sum(after[name] for name in parts)
    assert "ann" not in json.dumps(after)


def test_a_files_counts_go_by_what_stages_call_them(tmp_path: Path) -> None:
    for surface in ("email", "home"):
        path = tmp_path / "lists" / surface / "part-00000.parquet"
        path.parent.mkdir(parents=True)
        rows = {c.USER: ["ann", "bob"], c.SCORE: [[0.5, 0.4, 0.3], [0.1]], c.REGIME: ["cold", "warm"]}
        pl.DataFrame(rows).write_parquet(path)
    held = files.held_in(str(tmp_path), Scrub("compose", ANN))
    assert files.removed_by(held) == {"lists/home": 3, "lists/email": 3, "users": 1, "cold users": 1}


def test_a_step_whose_inputs_moved_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []

    def process(*_: object) -> None:
        tries.append(1)
        if len(tries) < 3:
            raise InputsRewrittenError("moved")

    monkeypatch.setattr(stages, "_run_process", process)
    stages._run_until_read("plan", Step.model_construct())
    assert len(tries) == 3


@pytest.mark.parametrize("user", ["", "  "])
def test_an_empty_id_is_refused_before_anything_is_touched(user: str, tmp_path: Path) -> None:
    settings = load_settings("marketplace", {"root": str(tmp_path)})
    for what in (operation.forget, operation.remember):
        with pytest.raises(SettingsError, match="is empty"):
            what(settings, user, who="ann", why="a script's empty variable")
    assert list(tmp_path.iterdir()) == []
