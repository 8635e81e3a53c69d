"""The night's report: one HTML page that needs nothing else."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, StrictUndefined

from recjobs import storage
from recjobs.evaluate.baseline import POPULARITY
from recjobs.evaluate.gate import Seen
from recjobs.evaluate.ideas import best_ideas
from recjobs.evaluate.items import Items
from recjobs.evaluate.judging import ALL, COVERAGE, DIFFERENCE, NEW, RECJOBS, Row
from recjobs.evaluate.measures import MEASURES
from recjobs.evaluate.plots import exposure_plot, lengths_plot, metrics_plot
from recjobs.evaluate.samples import sample_users
from recjobs.evaluate.template import PAGE
from recjobs.manifest import Check, Inputs, Manifest
from recjobs.settings import Settings

_MEASURES = [*((name + suffix) for suffix in (ALL, NEW) for name in MEASURES), COVERAGE]


@dataclass(frozen=True)
class Evaluation:
    """All that the report tells of."""

    inputs: Inputs
    config: Settings
    items: Items
    seen: Mapping[str, Seen]
    rows: Sequence[Row]
    checks: Sequence[Check]
    notes: Sequence[str]


def write_report(evaluation: Evaluation, uri: str) -> None:
    """Writes the page at `uri`."""
    storage.write_bytes(uri, render(evaluation).encode())


def render(evaluation: Evaluation) -> str:
    """The page. Whatever comes from data is escaped."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(PAGE).render(_content(evaluation))


def _content(evaluation: Evaluation) -> dict[str, Any]:
    config, inputs = evaluation.config, evaluation.inputs
    failed = [check for check in evaluation.checks if not check.passed]
    surface = next(iter(config.compose.surfaces))
    samples = sample_users(
        inputs["extract"],
        inputs["compose"],
        surface,
        evaluation.items,
        config.event_codes(),
        config.evaluate.sample_users,
        config.seed,
    )
    return {
        "dataset": config.dataset,
        "ds": inputs.ds,
        "cutoffs": inputs.cutoffs,
        "users": max((seen.users for seen in evaluation.seen.values()), default=0),
        "passed": not any(check.severity == "refuse" for check in failed),
        "warnings": sum(check.severity == "warn" for check in failed),
        "notes": evaluation.notes,
        "confidence": f"{config.evaluate.confidence:.0%}",
        "surfaces": [_surface(evaluation, name) for name in config.compose.surfaces],
        "training": _training(inputs.get("retrieve/train")),
        "checks": sorted(evaluation.checks, key=lambda check: check.passed),
        "samples": samples,
        "ideas": best_ideas(inputs["compose"]),
    }


def _training(trained: Manifest | None) -> dict[str, Any] | None:
    """The towers' curves; None where the run has no towers of its own."""
    if trained is None:
        return None
    metrics = trained.metrics
    return {
        "curves": base64.b64encode(storage.read_bytes(trained.uri("curves.png"))).decode(),
        "epochs": int(metrics.get("epochs", 0)),
        "best_epoch": int(metrics.get("best_epoch", 0)),
        "recall": metrics.get("validation_recall"),
        "ndcg": metrics.get("validation_ndcg"),
        "windows": trained.rows.get("windows", 0),
    }


def _surface(evaluation: Evaluation, name: str) -> dict[str, Any]:
    seen = evaluation.seen.get(name, Seen())
    rows = [row for row in evaluation.rows if row["surface"] == name]
    eligible = evaluation.items.eligible
    shown = seen.exposure[eligible] if len(seen.exposure) == len(eligible) else seen.exposure
    return {
        "name": name,
        "judged": rows[0]["judged"] if rows else None,
        "until": rows[0]["until"] if rows else None,
        "metrics": _metric_table(rows),
        "metrics_plot": metrics_plot(rows) if rows else None,
        "coverage": f"{(shown > 0).mean():.1%}" if len(shown) else "none",
        "eligible": int(eligible.sum()),
        "regimes": sorted(seen.regimes.items()),
        "lengths_plot": lengths_plot(seen.lengths),
        "exposure_plot": exposure_plot(shown),
    }


def _metric_table(rows: Sequence[Row]) -> list[dict[str, str]]:
    by_key = {(row["list"], row["metric"], row["k"]): row for row in rows}
    at = sorted({row["k"] for row in rows})
    keys = [(metric, k) for metric in _MEASURES for k in at if (RECJOBS, metric, k) in by_key]
    return [_metric_row(by_key, metric, k) for metric, k in keys]


def _metric_row(rows: Mapping[tuple[str, str, int], Row], metric: str, k: int) -> dict[str, str]:
    def shown(name: str, called: str) -> str:
        row = rows.get((name, called, k))
        return "" if row is None else f"{row['value']:.4f}"

    low, high = (shown(DIFFERENCE, f"{metric}_{end}") for end in ("low", "high"))
    return {
        "name": f"{metric.replace('_', ' ')} @{k}",
        "ours": shown(RECJOBS, metric),
        "theirs": shown(POPULARITY, metric),
        "difference": shown(DIFFERENCE, metric),
        "interval": f"{low} … {high}" if low else "",
        "users": str(rows[RECJOBS, metric, k]["users"]),
    }
