"""What the nights of `benchmarks.warm_start` gave: figures over all of them, a table, a picture."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.table import Table

FULL, WARM, AGAIN = "full", "warm", "again"
"""The chains that there always are, and the full training with another seed."""


@dataclass(frozen=True)
class Judged:
    """What one pair of towers did: recall@K of the next day, and what the training cost."""

    recall: float
    recall_seen: float
    """On items that had an event."""
    recall_new: float
    """On items that had none."""
    recall_first: float
    """On items that had their first events on the training's last day."""
    users: int
    fit: float
    """Wall seconds in the training loop, tracing the step included."""
    stage: float
    """Wall seconds of the whole stage, reading, drift and export included; the process's start is not."""
    cpu: float
    """CPU seconds of the stage."""
    steps: int
    metrics: dict[str, float]
    notes: list[str]


@dataclass(frozen=True)
class Night:
    """One night of all chains, by name; `popular` is the recall of the most popular items."""

    ds: str
    popular: float
    judged: Mapping[str, Judged]

    def loss(self, name: str = WARM) -> float:
        """The share of the full training's recall that another one lacks; negative where it has more."""
        return 1 - self.judged[name].recall / self.judged[FULL].recall

    def cost(self, what: str, name: str = WARM) -> float:
        """Seconds (`fit`, `stage` or `cpu`) as a share of the full training's."""
        cost: float = getattr(self.judged[name], what) / getattr(self.judged[FULL], what)
        return cost

    def line(self) -> str:
        """The night in a line."""
        told = (
            f"{name} {one.recall:.4f} ({one.stage:.0f} s, fit {one.fit:.0f} s)" for name, one in self.judged.items()
        )
        return f"{self.ds}: {', '.join(told)}, popular {self.popular:.4f}"


def write_report(nights: list[Night], told: Mapping[str, Any], k: int, folder: Path) -> dict[str, Any]:
    """Writes `warm_start.json` and `warm_start.png`; returns what the JSON holds."""
    content = {
        "summary": {name: round(value, 4) for name, value in summary_of(nights).items()},
        "k": k,
        **told,
        "nights": [asdict(night) for night in nights],
    }
    (folder / "warm_start.json").write_text(json.dumps(content, indent=1))
    _picture(nights, k, folder / "warm_start.png")
    return content


def summary_of(nights: list[Night]) -> dict[str, float]:
    """Means, the worst night, costs in all, what chance does, and what drift says of what is lost."""
    figures = {
        "recall_full": _mean([night.judged[FULL].recall for night in nights]),
        "recall_popular": _mean([night.popular for night in nights]),
    }
    for name in _carried(nights):
        figures |= _of_chain(_with(nights, name), name)
    for what in ("fit", "stage", "cpu", "steps"):
        figures[f"cost_{what}"] = _total(nights, WARM, what) / _total(nights, FULL, what)
    if chance := [night.loss(AGAIN) for night in nights if AGAIN in night.judged]:
        figures["chance_of_a_night"] = float(np.sqrt(np.mean(np.square(chance)) / 2))
    return figures | _drift_against_loss(nights)


def _of_chain(nights: list[Night], name: str) -> dict[str, float]:
    """What a chain lost, over the nights that it has; `_loss_error` is the standard error of the nights' mean."""
    full, carried = _total(nights, FULL, "recall"), _total(nights, name, "recall")
    lost = [night.loss(name) for night in nights]
    return {
        f"{name}_nights": float(len(nights)),
        f"{name}_recall": carried / len(nights),
        f"{name}_loss": 1 - carried / full,
        f"{name}_loss_error": float(np.std(lost, ddof=1) / np.sqrt(len(lost))) if len(lost) > 1 else 0.0,
        f"{name}_worst_loss": max(lost),
        f"{name}_worst_drift": max(night.judged[name].metrics["drift"] for night in nights),
    }


def _drift_against_loss(nights: list[Night]) -> dict[str, float]:
    """Correlations over all chains' nights, of what was lost with what the next night's test said of it."""
    pairs = [pair for name in _carried(nights) for pair in said_of(nights, name)]
    if len(pairs) < 3:
        return {}
    lost, estimate, drift = np.array(pairs).T
    found = {"estimate_against_loss": _correlation(lost, estimate), "drift_against_loss": _correlation(lost, drift)}
    return found | {"tested_nights": float(len(pairs))}


def said_of(nights: list[Night], name: str) -> list[tuple[float, float, float]]:
    """Of each night that another follows: recall lost, and the next night's estimate and drift, of the same towers."""
    found = []
    for night, following in pairwise(_with(nights, name)):
        metrics = following.judged[name].metrics
        found.append((night.loss(name), metrics["drift_estimate"], metrics["drift"]))
    return found


def _carried(nights: list[Night]) -> list[str]:
    return [name for name in nights[0].judged if name not in (FULL, AGAIN)]


def _with(nights: list[Night], name: str) -> list[Night]:
    """The nights that a chain has: its first ones."""
    return [night for night in nights if name in night.judged]


def _total(nights: list[Night], name: str, what: str) -> float:
    return float(sum(getattr(night.judged[name], what) for night in nights))


def _mean(values: list[float]) -> float:
    return float(np.mean(values))


def _correlation(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    return float(np.corrcoef(one, other)[0, 1]) if one.std() > 0 and other.std() > 0 else 0.0


def _picture(nights: list[Night], k: int, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 10), layout="constrained")
    FigureCanvasAgg(figure)
    recall, cost, drift = figure.subplots(3, sharex=True)
    days = [night.ds[5:] for night in nights]
    for name, style in [(FULL, "o-"), *((name, "s-") for name in _carried(nights)), (AGAIN, "x")]:
        its = _with(nights, name)
        label = "full, another seed" if name == AGAIN else name
        recall.plot(days[: len(its)], [night.judged[name].recall for night in its], style, label=label)
    recall.plot(days, [night.popular for night in nights], "o:", label="popularity")
    _bars(cost, nights, days)
    for name in _carried(nights):
        its = _with(nights, name)
        lines = drift.plot(days[: len(its)], [night.loss(name) for night in its], "s-", label=f"{name}: recall lost")
        said = [estimate for _, estimate, _ in said_of(nights, name)]
        color = lines[0].get_color()
        drift.plot(days[: len(said)], said, "o:", color=color, alpha=0.6, label=f"{name}: the next night's estimate")
    for axes, label in ((recall, f"recall@{k}, next day"), (cost, "seconds of the stage"), (drift, "share")):
        axes.set_ylabel(label)
        axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))
    recall.set_ylim(bottom=0)
    drift.axhline(0, color="grey", linewidth=0.5)
    drift.tick_params(axis="x", rotation=45)
    figure.savefig(path, dpi=110)


def _bars(axes: Any, nights: list[Night], days: list[str]) -> None:
    """Seconds of the stage, the training loop's part of them darker, full beside warm."""
    places = np.arange(len(days))
    for name, shift, color in ((FULL, -0.2, "tab:blue"), (WARM, 0.2, "tab:orange")):
        stage = [night.judged[name].stage for night in nights]
        axes.bar(places + shift, stage, 0.4, color=color, alpha=0.4, label=f"{name}, whole stage")
        fit = [night.judged[name].fit for night in nights]
        axes.bar(places + shift, fit, 0.4, color=color, label=f"{name}, training loop")


def table_of(nights: list[Night], k: int) -> Table:
    """A row a night."""
    table = Table(title=f"warm against full, recall@{k} on the next day", title_justify="left")
    headers = (
        "date",
        "popular",
        "full",
        "warm",
        "lost",
        "full s",
        "warm s",
        "of it",
        "fit",
        "steps",
        "drift",
        "estimate",
    )
    for header in headers:
        table.add_column(header, justify="right")
    for night in nights:
        table.add_row(*_cells(night))
    return table


def _cells(night: Night) -> Iterator[str]:
    full, warm = night.judged[FULL], night.judged[WARM]
    yield from (night.ds, f"{night.popular:.4f}", f"{full.recall:.4f}", f"{warm.recall:.4f}", f"{night.loss():+.1%}")
    yield from (f"{full.stage:.1f}", f"{warm.stage:.1f}", f"{night.cost('stage'):.2f}", f"{night.cost('fit'):.2f}")
    yield f"{night.cost('steps'):.2f}"
    yield from (f"{warm.metrics['drift']:.3f}", f"{warm.metrics['drift_estimate']:+.3f}")
