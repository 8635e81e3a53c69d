"""The whole job on a small generated marketplace: every stage for real, two nights, into a real Postgres.

Twenty processes one after the other take four minutes: slow, so run in CI. `tests/forgetting` has one such night
of a smaller shop, within one process.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl
import pytest

from recjobs import storage
from recjobs.cli.judge import judge_date
from recjobs.manifest import Manifest
from recjobs.plan import Plan, load_plan, plan_run
from recjobs.publish import embedded, reading
from recjobs.settings import Settings, load_settings
from recjobs.sources.marketplace.generation import generate
from recjobs.stages import manifest_of, run_step
from tests.database import own_server

pytestmark = pytest.mark.slow
FIRST, SECOND = date(2026, 3, 29), date(2026, 3, 30)
LENGTH = 20


@dataclass(frozen=True)
class Job:
    """Two nights that have run."""

    overrides: dict[str, object]
    plans: dict[date, str]

    @property
    def settings(self) -> Settings:
        return load_settings("marketplace", self.overrides)

    def plan(self, ds: date) -> Plan:
        return load_plan(self.plans[ds])

    def manifest(self, ds: date, step: str) -> Manifest:
        found = manifest_of(self.plan(ds), step)
        assert found is not None
        return found


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Job]:
    folder = tmp_path_factory.mktemp("job")
    server = own_server(tmp_path_factory.mktemp("server"))
    overrides: dict[str, object] = {
        "root": str(folder / "artefacts"),
        **{f"{kind}.path": str(folder / "data" / kind) for kind in ("events", "items", "users")},
        "marketplace.users": 400,
        "marketplace.items": 200,
        "marketplace.days": 16,
        "beam.shards": 3,
        "retrieve.train.epochs": 2,
        "retrieve.search.candidates": 60,
        "compose.surfaces.home.length": LENGTH,
    }
    settings = load_settings("marketplace", overrides)
    assert settings.marketplace is not None
    generate(settings.marketplace, str(folder / "data"), SECOND + timedelta(days=1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECJOBS__DATABASE__URL", embedded.start(server))
        yield Job(overrides, {ds: run_night(overrides, ds) for ds in (FIRST, SECOND)})
    embedded.stop(server)


def run_night(overrides: dict[str, object], ds: date) -> str:
    plan_uri = plan_run("marketplace", ds, overrides)
    for step in load_plan(plan_uri).steps:
        run_step(plan_uri, step)
    return plan_uri


def test_every_user_has_a_full_list_in_the_database(job: Job) -> None:
    users = pl.concat(
        pl.read_parquet(part.uri, columns=["user_id"]) for part in job.manifest(SECOND, "extract").parts("users")
    )
    published = dict(reading.iter_live_lists(job.settings))
    assert sorted(published) == sorted(users["user_id"])
    assert {len(items) for items in published.values()} == {LENGTH}
    assert all(len(set(items)) == LENGTH for items in published.values())


def test_nobody_is_shown_what_they_bought_or_what_is_gone(job: Job) -> None:
    extract = job.manifest(SECOND, "extract")
    items = pl.read_parquet(extract.uri("items.parquet"))
    gone = set(items.filter(~pl.col("available"))["item_id"])
    assert gone
    events = pl.concat(pl.read_parquet(part.uri) for part in extract.parts("events"))
    bought = events.filter(pl.col("event_type") == "purchase").group_by("user_id").agg("item_id")
    purchases = {user: set(theirs) for user, theirs in bought.iter_rows()}
    for user, shown in reading.iter_live_lists(job.settings):
        assert not gone & set(shown)
        assert not purchases.get(user, set()) & set(shown)


def test_the_second_night_judges_the_first_and_beats_popularity(job: Job) -> None:
    metrics = job.manifest(SECOND, "evaluate").metrics
    assert metrics["recall@20/recjobs"] > 1.3 * metrics["recall@20/popularity"]
    judged = job.plan(SECOND).steps["evaluate"].inputs["judged/compose"]
    assert judged == job.plan(FIRST).steps["compose"].manifest_uri


def test_any_published_date_can_be_judged_later(job: Job) -> None:
    rows = judge_date(job.settings, FIRST, days=1)
    by_hand = {f"{row['metric']}@{row['k']}/{row['list']}": row["value"] for row in rows}
    nightly = job.manifest(SECOND, "evaluate").metrics
    for name in ("recall@20/recjobs", "recall@20/popularity", "ndcg@10/recjobs"):
        assert by_hand[name] == pytest.approx(nightly[name])


def test_the_second_night_learns_from_the_candidates_of_the_first(job: Job) -> None:
    assert not [step for step in job.plan(SECOND).steps if step.startswith("earlier/")]
    learnt_from = job.plan(SECOND).steps["rank/train"].inputs["earlier/retrieve/search"]
    assert learnt_from == job.plan(FIRST).steps["retrieve/search"].manifest_uri


def test_running_again_changes_nothing(job: Job) -> None:
    def state() -> object:
        folder = storage.join(job.settings.artefacts)
        files = {file.name: file.size for file in storage.list_files(folder)}
        return files, dict(reading.iter_live_lists(job.settings)), reading.versions(job.settings)

    before = state()
    assert run_night(job.overrides, SECOND) == job.plans[SECOND]
    assert state() == before


def test_an_older_date_never_replaces_a_newer_one(job: Job) -> None:
    before = dict(reading.iter_live_lists(job.settings))
    run_night({**job.overrides, "compose.exclude_items": ["no such item"]}, FIRST)
    newest_first = [(str(one.ds), one.seq, one.state) for one in reading.versions(job.settings)]
    assert newest_first == [(str(SECOND), 1, "live"), (str(FIRST), 2, "superseded"), (str(FIRST), 1, "superseded")]
    assert dict(reading.iter_live_lists(job.settings)) == before


def test_every_step_tells_what_it_cost(job: Job) -> None:
    for step in job.plan(SECOND).steps:
        manifest = job.manifest(SECOND, step)
        assert manifest.timings["total"] > 0
        assert manifest.cpu_seconds > 0
        assert 50 << 20 < manifest.peak_memory_bytes < 4 << 30
        assert manifest.config["dataset"] == "marketplace"
