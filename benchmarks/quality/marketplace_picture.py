"""Bars of recall on the generated marketplace, a group after the other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.quality.picture import OTHERS, OURS, REFERENCE, plt

if TYPE_CHECKING:
    from benchmarks.quality.marketplace import Row


def draw(path: Path, rows: Sequence[Row]) -> None:
    """A PNG with a small chart for each group."""
    groups = list(dict.fromkeys(row.group for row in rows))
    figure, axes = plt.subplots(len(groups), 1, figsize=(7, 1.35 * len(groups)))
    for one, group in zip(axes, groups, strict=True):
        mine = [row for row in rows if row.group == group]
        bars = one.barh(
            [row.method for row in mine], [row.recall for row in mine], color=[_colour(row) for row in mine]
        )
        one.bar_label(bars, fmt="%.3f", fontsize=7, padding=2)
        one.set_title(f"{group} ({mine[0].users} with an outcome)", fontsize=8, loc="left")
        one.invert_yaxis()
        one.margins(x=0.12)
        one.tick_params(labelsize=7)
        one.spines[["top", "right"]].set_visible(False)
    figure.suptitle("generated marketplace: recall@20 on the next day", fontsize=10)
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _colour(row: Row) -> str:
    if row.method == "oracle":
        return REFERENCE
    return OTHERS if row.method.startswith("popular") else OURS
