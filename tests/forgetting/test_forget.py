"""A user is forgotten: nothing that was made or published names them, and no rebuild brings them back."""

from __future__ import annotations

import importlib
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from recjobs import stage_process, storage, tombstones
from recjobs.cli.app import app
from recjobs.cli.judge import judge_date
from recjobs.errors import InputsRewrittenError
from recjobs.forgetting import operation
from recjobs.forgetting.runs import find_runs
from recjobs.lineage import status_of
from recjobs.manifest import Manifest, digest_of
from recjobs.plan import Step
from recjobs.publish import embedded
from recjobs.publish.config import DatabaseConfig
from recjobs.stages import manifest_of
from recjobs.tombstones import digest_of as digest_of_user
from tests.cli.shop import NEWEST
from tests.database import server
from tests.forgetting.night import NEEDLES, Night, files_with, kinds, run_night, tables_with, users_of

# The first two are in the shard whose users the evaluation's report shows.
BY_COMMAND, STAYS, WHILE_READING, WHILE_STORING, DEAD, UNDONE, *OTHERS = NEEDLES[1:]
WHILE_WRITING, WHILE_RUNNING = OTHERS[:3], OTHERS[3:]
_numbers = itertools.count(1)
STAGES = ("extract", "retrieve/train", "compose")


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    url = embedded.ensure_database(server(), "forgetting")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TF_USE_LEGACY_KERAS", "1")
        yield run_night(tmp_path_factory.mktemp("shop"), DatabaseConfig(url=SecretStr(url)))


def forget(night: Night, user: str) -> operation.Done:
    return operation.forget(night.settings, user, who="ann", why="asked")


def assert_nowhere(night: Night, user: str) -> None:
    assert files_with(night.artefacts, user) == []
    assert tables_with(night.database, user) == []


def test_a_night_names_its_users_in_all_these_places(night: Night) -> None:
    """Or the searches below would find nothing because there is nothing."""
    assert kinds(files_with(night.artefacts, STAYS)) == {
        "extract/events", "extract/users", "extract/sequences", "extract/quarantine",
        "extract/latest", "extract/recent",
        "retrieve/search/user_vectors", "retrieve/search/candidates", "rank/score/scored",
        "compose/lists", "evaluate/report.html",
    }  # fmt: skip
    assert tables_with(night.database, STAYS) == ["user_lists_g1"]


def embedding_rows(manifest: Manifest) -> dict[str, np.ndarray]:
    """The users' embedding and its moments by name, in the tower and in the checkpoint, as TensorFlow reads them."""
    import tensorflow as tf

    found = {}
    shape = None
    for bundle in ("user_tower/variables/variables", "checkpoint/towers"):
        reader = tf.train.load_checkpoint(manifest.uri(bundle))
        shapes = reader.get_variable_to_shape_map()
        shape = shape or next(shapes[name] for name in shapes if "user_embedding" in name)
        found |= {f"{bundle} {name}": reader.get_tensor(name) for name in shapes if shapes[name] == shape}
    return found


def test_forget_by_command_leaves_no_trace_in_files_models_and_tables(night: Night) -> None:
    extract = night.manifest("extract")
    states = {user: row for part in extract.parts("users") for user, row in _states(part.uri)}
    row = states[BY_COMMAND]
    before = {run.uri: run.manifest for run in find_runs(str(night.artefacts))}
    rows_before = embedding_rows(night.manifest("retrieve/train"))
    assert all(table[row].any() for table in rows_before.values())
    said = night.shop.recjobs("forget", BY_COMMAND, "--yes", "--why", "letter of 3 January", "--who", "ann", "--json")
    assert said.returncode == 0, said.stderr
    assert_nowhere(night, BY_COMMAND)

    receipt = json.loads(said.stdout)
    assert BY_COMMAND not in json.dumps(receipt)
    removed = {(one["where"].split("/ds=")[0], one["what"].split("/")[0]): one["removed"] for one in receipt["removed"]}
    weeks = [one for one in receipt["removed"] if one["what"].startswith("events/") and str(NEWEST) in one["where"]]
    assert removed["database", "user_lists_g1"] == 1
    assert sum(one["removed"] for one in weeks) == 5, "of every day of the night itself"
    assert removed["extract", "users"] == removed["rank/score", "scored"] == removed["evaluate", "report.html"] == 1
    assert removed["extract", "report.json"] == removed["extract", "quarantine"]
    assert any(str(night.shop.folder / "events") in place for place in receipt["not_reached"])
    assert json.loads(storage.read_bytes(receipt["receipt"])) == {k: v for k, v in receipt.items() if k != "receipt"}

    rows_after = embedding_rows(night.manifest("retrieve/train"))
    assert rows_after.keys() == rows_before.keys()
    assert len(rows_after) >= 4
    for name, table in rows_after.items():
        assert not table[row].any(), name
        assert np.array_equal(np.delete(table, row, 0), np.delete(rows_before[name], row, 0)), name
    _assert_whole(night, before)


def _states(uri: str) -> list[tuple[str, int]]:
    import polars as pl

    frame = pl.read_parquet(uri)
    return list(zip(frame["user_id"].cast(pl.String), frame["user_index"], strict=True))


def _assert_whole(night: Night, before: dict[str, Manifest | None]) -> None:
    """Every manifest's files are there, its counts and digests true; old attempts are gone."""
    for run in find_runs(str(night.artefacts)):
        manifest, old = run.manifest, before[run.uri]
        assert manifest is not None
        assert old is not None
        assert [storage.join(manifest.folder)] == list(run.attempts)
        names = {file.name for file in storage.list_files(manifest.folder)}
        assert names, manifest.folder
        assert (manifest.ds, manifest.config) == (old.ds, old.config)
        for reference in manifest.inputs.values():
            assert digest_of(storage.read_bytes(reference.uri)) == reference.digest
        if manifest.stage == "extract":
            for kind in ("users", "events"):
                assert manifest.rows[kind] == len(users_of(manifest, kind)) < old.rows[kind]
            report = json.loads(storage.read_bytes(manifest.uri("report.json")))
            parts = ("kept", "quarantined", "duplicates", "before_window", "forgotten")
            assert report["read"] == sum(report[part] for part in parts)
            assert report["kept"] == manifest.rows["events"]
        if manifest.stage == "compose":
            assert manifest.rows["users"] == len(users_of(manifest, "lists", "home")) == old.rows["users"] - 1
    others = {"u3", STAYS}
    assert others <= set(users_of(night.manifest("compose"), "lists", "home"))
    assert others <= set(users_of(night.manifest("rank/score"), "scored"))


def test_the_tower_still_serves_everybody_else(night: Night) -> None:
    forget(night, BY_COMMAND)
    import tensorflow as tf

    tower = tf.saved_model.load(night.manifest("retrieve/train").uri("user_tower"))
    assert "serving_default" in tower.signatures


def test_the_same_plan_again_publishes_what_is_left(night: Night) -> None:
    """An orchestrator clears a task: the plan was made before anybody was forgotten."""
    forget(night, BY_COMMAND)
    plan = night.plan
    for step in ("compose", "evaluate", "publish"):
        stage_process.perform(plan, plan.steps[step])
    found = manifest_of(plan, "publish")
    assert found is not None
    found.raise_if_refused()
    assert_nowhere(night, BY_COMMAND)


def test_run_again_and_backfilled_from_sources_that_still_hold_the_events(night: Night) -> None:
    """What `extract` makes: nothing else reads the sources. The whole way is below."""
    forget(night, BY_COMMAND)
    assert any("forgotten since" in reason for reason in status_of(night.settings, NEWEST).stale)
    for ds in (NEWEST, NEWEST - timedelta(days=1)):
        plan = night.run(ds, until="extract")
        extract = manifest_of(plan, "extract")
        assert extract is not None
        forgotten = len(tombstones.digests(tombstones.folder_of(str(night.artefacts))))
        assert extract.rows["forgotten"] == 2 * forgotten * (5 - (NEWEST - ds).days)
        assert STAYS in users_of(extract, "users")
        assert plan.steps["extract"].run != night.plan.steps["extract"].run
    assert not any("forgotten since" in reason for reason in status_of(night.settings, NEWEST).stale)
    assert_nowhere(night, BY_COMMAND)


@pytest.mark.slow
def test_run_again_and_backfilled_to_the_end(night: Night) -> None:
    forget(night, BY_COMMAND)
    again = night.run()
    older = night.run(NEWEST - timedelta(days=1))
    for plan in (again, older):
        lists = manifest_of(plan, "compose")
        assert lists is not None
        assert STAYS in users_of(lists, "lists", "home")
    assert_nowhere(night, BY_COMMAND)
    assert len(tables_with(night.database, STAYS)) >= 3


@pytest.mark.slow
def test_forgotten_one_after_the_other_while_a_whole_night_runs(night: Night) -> None:
    """By the command line, every stage in a process of its own: it ends well, and nobody forgotten is in it."""
    command = [sys.executable, "-m", "recjobs", "run", "--date", str(NEWEST - timedelta(days=1))]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(night.shop.folder)}
    left = list(WHILE_RUNNING)
    with (night.shop.folder / "run.log").open("wb") as log:
        running = subprocess.Popen([*command, "-c", str(night.shop.config)], env=environment, stdout=log, stderr=log)
        while running.poll() is None:
            if left:
                forget(night, left.pop())
            time.sleep(4)
    assert running.returncode == 0, (night.shop.folder / "run.log").read_text()
    assert len(left) < len(WHILE_RUNNING) - 3
    for user in set(WHILE_RUNNING) - set(left):
        assert_nowhere(night, user)


def test_without_anybody_forgotten_recipes_do_not_change(night: Night) -> None:
    pinned = night.plan.steps["extract"].sources
    assert (pinned.forgotten, pinned.lifted) == ((), ())


@pytest.mark.parametrize("stage", STAGES)
def test_forgotten_while_a_stage_writes(night: Night, stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """After it has written its output and before its manifest is stored: the attempt is not touched from outside."""
    user = WHILE_WRITING[STAGES.index(stage)]
    module = importlib.import_module(f"recjobs.{stage.replace('/', '.')}.stage")
    real = module.run
    row = dict(_states_of(night, user))[user]

    def run(*values: object) -> Manifest:
        made: Manifest = real(*values)
        assert stage == "retrieve/train" or files_with(Path(made.folder), user)
        assert len(forget(night, user).receipt.running) == 1
        return made

    monkeypatch.setattr(module, "run", run)
    made = stage_process.perform(night.plan, another_run(night, stage))
    assert digest_of_user("planted", user) in made.forgotten
    assert_nowhere(night, user)
    for table in embedding_rows(made).values() if stage == "retrieve/train" else ():
        assert not table[row].any()
        assert table.any()


def another_run(night: Night, stage: str) -> Step:
    """The step of the plan, which was made when nobody was forgotten, as a run that is still to be done."""
    step = night.plan.steps[stage]
    run = f"{next(_numbers):016x}"
    return step.model_copy(update={"run": run, "run_folder": step.run_folder.replace(step.run, run)})


def _states_of(night: Night, user: str) -> list[tuple[str, int]]:
    return [one for part in night.manifest("extract").parts("users") for one in _states(part.uri) if one[0] == user]


def test_forgotten_between_the_last_look_and_the_manifest(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    real = stage_process.store

    def store(manifest: Manifest, run_folder: str) -> tuple[str, Manifest]:
        forget(night, WHILE_STORING)
        assert files_with(Path(manifest.folder), WHILE_STORING)
        return real(manifest, run_folder)

    monkeypatch.setattr(stage_process, "store", store)
    stage_process.perform(night.plan, another_run(night, "extract"))
    assert_nowhere(night, WHILE_STORING)


def test_forgotten_while_a_stage_reads_it_starts_again_and_finishes(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recjobs.compose import stage

    real = stage.run

    def run(*values: object) -> Manifest:
        monkeypatch.setattr(stage, "run", real)
        forget(night, WHILE_READING)
        return real(*values)  # type: ignore[arg-type]

    step = another_run(night, "compose")
    monkeypatch.setattr(stage, "run", run)
    with pytest.raises(InputsRewrittenError, match="somebody was forgotten meanwhile"):
        stage_process.perform(night.plan, step)
    made = stage_process.perform(night.plan, step)
    assert WHILE_READING not in users_of(made, "lists", "home")
    assert_nowhere(night, WHILE_READING)


def test_what_a_killed_stage_left_is_deleted(night: Night) -> None:
    left = night.artefacts / "extract" / f"ds={NEWEST}" / "0123456789abcdef" / "deadbeef"
    (left / "_scratch").mkdir(parents=True)
    (left / "_scratch" / "half.arrow").write_bytes(DEAD.encode())
    (left / ".part-00000.parquet.123").write_bytes(DEAD.encode())
    assert files_with(night.artefacts, DEAD)
    done = forget(night, DEAD)
    assert not left.exists()
    assert any("did not finish" in one.what for one in done.receipt.removed)
    assert_nowhere(night, DEAD)


def test_undone_the_next_run_brings_the_user_back(night: Night) -> None:
    before = night.run(until="extract")
    forget(night, UNDONE)
    assert_nowhere(night, UNDONE)
    undo = ["forget", UNDONE, "--undo", "--why", "wrong letter", "-c", str(night.shop.config)]
    first, second = (CliRunner().invoke(app, undo) for _ in range(2))
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert "the next run brings back what the sources hold" in " ".join(first.stdout.split())
    assert "was not forgotten; nothing changed" in " ".join(second.stdout.split())
    plan = night.run(until="extract")
    assert plan.steps["extract"].run != before.steps["extract"].run  # which is done, and has been rid of the user
    extract = manifest_of(plan, "extract")
    assert extract is not None
    assert UNDONE in users_of(extract, "users")
    forget(night, UNDONE)
    assert_nowhere(night, UNDONE)


def test_a_stranger_gets_a_receipt_and_is_kept_out(night: Night) -> None:
    done = forget(night, "nobody we know")
    assert done.receipt.removed == ()
    digest = digest_of_user("planted", "nobody we know")
    assert tombstones.get(tombstones.folder_of(str(night.artefacts)), digest) is not None


def test_without_yes_it_asks_and_a_no_changes_nothing(night: Night) -> None:
    said = CliRunner().invoke(app, ["forget", STAYS, "-c", str(night.shop.config)], input="n\n")
    assert said.exit_code == 1
    assert f"Remove {STAYS} from everything" in said.output
    assert files_with(night.artefacts, STAYS)


def test_lists_can_still_be_judged_by_hand(night: Night) -> None:
    forget(night, BY_COMMAND)
    with pytest.raises(Exception, match="have not arrived"):
        judge_date(night.settings, NEWEST, 1)
