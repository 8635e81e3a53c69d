"""Bars of recall on the generated marketplace, a group after the other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib import pyplot as plt

from benchmarks.quality.picture import OTHERS, OURS, REFERENCE, save

if TYPE_CHECKING:
    from benchmarks.quality.marketplace import Row


def draw(path: Path, rows: Sequence[Row]) -> None:
    """A PNG with a small chart for each group."""
    groups = list(dict.fromkeys(row.group for row in rows))
    figure, axes = plt.subplots(len(groups), 2, figsize=(10, 1.6 * len(groups)))
    for pair, group in zip(axes, groups, strict=True):
        mine = [row for row in rows if row.group == group]
        recall, chance = pair
        _bars(recall, mine, "recall", "of")
        recall.set_title(f"{group}: recall of {mine[0].users}", fontsize=8, loc="left")
        _bars(chance, mine, "chance", "chance_of")
        chance.set_title(f"chance of a view, {mine[0].all_users} users", fontsize=8, loc="left")
        chance.set_yticklabels([])
    figure.suptitle("generated marketplace, the next day; share of the first in brackets", fontsize=10)
    save(figure, path)


def _bars(axes: Any, rows: Sequence[Row], measure: str, share: str) -> None:
    values = [getattr(row, measure) for row in rows]
    bars = axes.barh([row.method for row in rows], values, color=[_colour(row) for row in rows])
    labels = [f"{value:.3f} ({getattr(row, share) or 0:.0%})" for row, value in zip(rows, values, strict=True)]
    axes.bar_label(bars, labels, fontsize=7, padding=2)
    axes.invert_yaxis()
    axes.margins(x=0.25)
    axes.tick_params(labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)


def _colour(row: Row) -> str:
    if "oracle" in row.method or row.method == "observer":
        return REFERENCE
    return OTHERS if row.method.startswith("popular") else OURS
