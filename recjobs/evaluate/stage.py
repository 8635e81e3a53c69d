"""`evaluate`: judges earlier lists on what happened since, and lets tonight's lists pass or refuses them."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial

import polars as pl
import pyarrow.parquet as pq

from recjobs import columns, storage
from recjobs.columns import USER
from recjobs.evaluate import checks, contribution, gate, judging
from recjobs.evaluate.contribution import Contribution
from recjobs.evaluate.gate import Seen, SurfaceRules
from recjobs.evaluate.items import Items
from recjobs.evaluate.judging import ALL, DIFFERENCE, RECJOBS, Row, Rules, Tally
from recjobs.evaluate.outcomes import read_outcomes
from recjobs.evaluate.report import Evaluation, write_report
from recjobs.manifest import Check, Inputs, Manifest, Output
from recjobs.passes import combined
from recjobs.settings import Settings

logger = logging.getLogger(__name__)

DEFAULT_SURFACE = "home"


def run(inputs: Inputs, config: Settings, out: Output) -> Manifest:
    """Writes `metrics.json`, `sources.json`, `verdict.json` and `report.html`.

    A failed check that refuses fails the run afterwards.

    Raises:
        CorruptFileError: a part of the lists is no list file.
    """
    started = time.perf_counter()
    items = judging.judged_items(inputs["extract"], config)
    seen, found = gated(inputs, config, items, out)
    inspected = time.perf_counter()
    rows, sources, notes = _judge(inputs, config, out)
    found += checks.better_than_popularity(rows, max(config.evaluate.at))
    judged = time.perf_counter()
    passed = not any(check.severity == "refuse" and not check.passed for check in found)
    _write_json(out.uri("metrics.json"), rows)
    _write_json(out.uri("sources.json"), sources)
    _write_json(out.uri("verdict.json"), {"passed": passed, "checks": [check.model_dump() for check in found]})
    evaluation = Evaluation(inputs, config, items, seen, rows, sources, found, notes)
    write_report(evaluation, out.uri("report.html"))
    logger.info("evaluate: gate %s, %d rows of metrics", "passed" if passed else "REFUSES", len(rows))
    return out.manifest(
        rows={"users": _users(seen), "metrics": len(rows)},
        metrics={**_flat(rows, config), **_tonight(seen, items)},
        checks=found,
        timings={"gate": inspected - started, "judging": judged - inspected, "report": time.perf_counter() - judged},
        notes=notes,
    )


# -- the gate


@dataclass(frozen=True)
class GateShard:
    """One shard's user states, and by surface its lists, None where they are missing."""

    states: str
    lists: Mapping[str, str | None]


def gated(inputs: Inputs, config: Settings, items: Items, out: Output) -> tuple[dict[str, Seen], list[Check]]:
    """What is in tonight's lists, by surface, and the checks of every list `compose` wrote."""
    seen = _inspect(inputs, config, items, out)
    return seen, _gate_checks(inputs, config, items, seen)


def _inspect(inputs: Inputs, config: Settings, items: Items, out: Output) -> dict[str, Seen]:
    extract, lists = inputs["extract"], inputs["compose"]
    there = {surface: {part.name for part in lists.parts("lists", surface)} for surface in config.compose.surfaces}
    work = [
        GateShard(
            part.uri,
            {
                surface: lists.uri("lists", surface, part.name) if part.name in names else None
                for surface, names in there.items()
            },
        )
        for part in extract.parts("users")
    ]
    rules = surface_rules(lists, config, items)
    return combined(
        config.beam, "gate", work, partial(_gate_function, extract, config, rules), gate.combine, out.uri(".gate")
    )


def surface_rules(lists: Manifest, config: Settings, items: Items) -> dict[str, SurfaceRules]:
    """What the lists of each surface must keep, by settings and by what `compose` says of its rules."""
    no_repeat, with_reasons = judging.rules_of(config).no_repeat, config.compose.reasons == "full"
    told = {file.name for file in storage.list_files(lists.uri("rules"))}
    found = {}
    for surface, rules in config.compose.surfaces.items():
        uri = lists.uri("rules", f"{surface}.parquet")
        shown, ruled = gate.read_rules(uri, items) if f"{surface}.parquet" in told else (None, None)
        kept = items.eligible if shown is None else items.eligible & shown
        length = min(rules.length, int(kept.sum()))
        found[surface] = SurfaceRules(length, no_repeat[surface], with_reasons, shown, ruled)
    return found


def _gate_function(
    extract: Manifest, config: Settings, rules: Mapping[str, SurfaceRules]
) -> Callable[[GateShard], dict[str, Seen]]:
    return partial(_inspect_shard, judging.judged_items(extract, config), rules)


def _inspect_shard(items: Items, rules: Mapping[str, SurfaceRules], work: GateShard) -> dict[str, Seen]:
    users = judging.read_columns(work.states, [USER, columns.PAIR_ITEM, columns.PAIR_TYPE])
    return {surface: gate.inspect_part(uri, users, items, rules[surface]) for surface, uri in work.lists.items()}


def _gate_checks(inputs: Inputs, config: Settings, items: Items, seen: Mapping[str, Seen]) -> list[Check]:
    extract, lists = inputs["extract"], inputs["compose"]
    found = checks.list_checks(seen, config.compose.surfaces)
    names = {part.name for part in extract.parts("users")}
    for surface, rules in surface_rules(lists, config, items).items():
        extra = [part.name for part in lists.parts("lists", surface) if part.name not in names]
        segments = _one_table(lists, "segments", surface)
        in_segments = gate.segment_faults(segments, rules.narrowed(items), rules.length)
        faults = {"no parts of other shards": len(extra), **in_segments}
        found += checks.fault_checks(f"{surface}: ", faults)
    found += checks.fault_checks("", gate.item_faults(_one_table(lists, "items"), items))
    if "users" in extract.rows:
        found.append(checks.users_check(_users(seen), extract.rows["users"]))
    return found


def _one_table(lists: Manifest, *folder: str) -> pl.DataFrame:
    with storage.reading(lists.uri(*folder, columns.part_name(0))) as stream:
        return pl.DataFrame(pl.from_arrow(pq.read_table(stream)))


# -- judging earlier lists


@dataclass(frozen=True)
class JudgeShard:
    """One shard of the judged lists, and where its users' outcomes are."""

    number: int
    states: str
    lists: Mapping[str, str]
    events: tuple[str, ...]
    counts_outcomes: bool
    """Whether the users with an outcome in `events` are to be counted here."""
    candidates: str | None
    """What the lists were made from; None where it doesn't say which sources brought it."""


@dataclass(frozen=True)
class Judged:
    """What judging counted. Adds up."""

    tallies: dict[str, Tally]
    with_outcome: int
    """Users with an outcome, with or without a list."""
    sources: Contribution | None


def _judge(inputs: Inputs, config: Settings, out: Output) -> tuple[list[Row], list[Row], list[str]]:
    """Rows of `metrics.json` and `sources.json`, and notes."""
    lists, states = inputs.get("judged/compose"), inputs.get("judged/extract")
    if lists is None or states is None:
        earlier = date.fromordinal(inputs.ds.toordinal() - inputs.cutoffs.label_days)
        return [], [], [f"nothing to judge yet: no lists of {earlier}"]
    surfaces = [name for name in storage.list_folders(lists.uri("lists")) if name in config.compose.surfaces]
    prepare = partial(_judge_function, states, config, lists.ds, inputs.ds)
    work = _judge_work(lists, states, inputs["extract"], surfaces, inputs.get("judged/retrieve/search"))
    judged = combined(config.beam, "judging", work, prepare, _add_judged, out.uri(".judging"))
    items, rules = judging.judged_items(states, config), judging.rules_of(config)
    rows = [row for surface in surfaces for row in judging.metric_rows(judged.tallies[surface], surface, items, rules)]
    dated = partial(judging.dated, ds=inputs.ds, judged=lists.ds, until=inputs.ds)
    sources = judged.sources.rows() if judged.sources is not None else []
    return dated(rows), dated(sources), _judge_notes(judged, lists.ds, inputs.ds)


def _judge_work(
    lists: Manifest, states: Manifest, extract: Manifest, surfaces: Sequence[str], search: Manifest | None
) -> list[JudgeShard]:
    parts, events = states.parts("users"), extract.shards("events")
    # With another number of shards than tonight's, a user's outcomes may be in any part.
    aligned = len(parts) == len(events)
    told = search if search is not None and contribution.is_told(search) else None
    return [
        JudgeShard(
            number,
            part.uri,
            {surface: lists.uri("lists", surface, part.name) for surface in surfaces},
            tuple(event.uri for shard in (events[number : number + 1] if aligned else events) for event in shard),
            aligned or number == 0,
            None if told is None else told.uri("candidates", part.name),
        )
        for number, part in enumerate(parts)
    ]


def _judge_function(states: Manifest, config: Settings, after: date, until: date) -> Callable[[JudgeShard], Judged]:
    items, rules = judging.judged_items(states, config), judging.rules_of(config)
    return partial(_judge_shard, items, rules, judging.outcome_types(config), after, until)


def _judge_shard(
    items: Items, rules: Rules, types: Sequence[str], after: date, until: date, work: JudgeShard
) -> Judged:
    outcomes = read_outcomes(work.events, types, after, until)
    tallies = {
        surface: judging.judge_part(uri, work.states, outcomes, items, surface, rules, work.number)
        for surface, uri in work.lists.items()
    }
    sources = None if work.candidates is None else contribution.judge_part(work.candidates, outcomes, items)
    return Judged(tallies, outcomes[USER].n_unique() if work.counts_outcomes else 0, sources)


def _add_judged(parts: Iterable[Judged]) -> Judged:
    found = list(parts)
    sources = [part.sources for part in found if part.sources is not None]
    return Judged(
        judging.combine(part.tallies for part in found),
        sum(part.with_outcome for part in found),
        contribution.added(sources) if sources else None,
    )


def _judge_notes(judged: Judged, after: date, until: date) -> list[str]:
    some = next(iter(judged.tallies.values()), None)
    users = some.groups[ALL].users if some else 0
    if users == 0:
        return [f"nothing to judge: no user with a list of {after} had an outcome until {until}"]
    without = judged.with_outcome - users
    return [f"{without} users with an outcome until {until} had no list of {after}"] if without else []


# -- what the manifest tells


def _flat(rows: Sequence[Row], config: Settings) -> dict[str, float]:
    """`recall@20/recjobs`, …: rows under flat names, with the surface before where it is not the default one."""
    first = DEFAULT_SURFACE if DEFAULT_SURFACE in config.compose.surfaces else next(iter(config.compose.surfaces))
    names = {DIFFERENCE: "difference"}
    flat = {}
    for row in rows:
        prefix = "" if row["surface"] == first else f"{row['surface']}/"
        flat[f"{prefix}{row['metric']}@{row['k']}/{names.get(row['list'], row['list'])}"] = row["value"]
    judged = [row["users"] for row in rows if row["list"] == RECJOBS and row["metric"] == "recall"]
    return {**flat, "users judged": float(max(judged))} if judged else flat


def _tonight(seen: Mapping[str, Seen], items: Items) -> dict[str, float]:
    eligible = max(int(items.eligible.sum()), 1)
    return {
        f"coverage tonight/{surface}": float((one.exposure[1:] > 0).sum() / eligible) for surface, one in seen.items()
    }


def _users(seen: Mapping[str, Seen]) -> int:
    return max((one.users for one in seen.values()), default=0)


def _write_json(uri: str, content: object) -> None:
    storage.write_bytes(uri, json.dumps(content, indent=2).encode())
