"""Bars of every method with their spread, and lines where the references stand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from benchmarks.quality.cases import DataSet, Measure
from benchmarks.quality.report import Summary

OURS, OTHERS, TARGET, REFERENCE = "#c8401f", "#8a9aa8", "#1d6b3a", "#55606a"


def draw(path: Path, data_set: DataSet, found: Sequence[Summary]) -> None:
    """A row of axes for each protocol, one for each ranking measure; written as a PNG."""
    measures = [measure for measure in data_set.measures if measure[0] not in ("coverage", "gini")]
    protocols = list(dict.fromkeys(one.protocol for one in found))
    figure, grid = plt.subplots(
        len(protocols), len(measures), figsize=(3.4 * len(measures), 3.2 * len(protocols)), squeeze=False
    )
    for axes_row, protocol in zip(grid, protocols, strict=True):
        mine = [one for one in found if one.case == protocol]
        for axes, measure in zip(axes_row, measures, strict=True):
            _bars(axes, [one for one in mine if one.measure == measure])
            _lines(axes, data_set, protocol, measure)
            axes.set_title(f"{protocol}: {measure[0]}@{measure[1]}", fontsize=9)
        for axes in axes_row[1:]:
            axes.set_yticklabels([])
    figure.suptitle(f"{data_set.name}, full ranking", fontsize=11)
    save(figure, path)


def save(figure: Figure, path: Path) -> None:
    """Writes the figure as a PNG, in a folder that is made, and is done with it."""
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _bars(axes: Any, found: Sequence[Summary]) -> None:
    names = [one.method for one in found]
    colours = [OURS if name.startswith("recjobs") else OTHERS for name in names]
    bars = axes.barh(names, [one.mean for one in found], xerr=[one.spread for one in found], color=colours)
    axes.bar_label(bars, fmt="%.4f", fontsize=7, padding=2)
    axes.margins(x=0.18)
    axes.invert_yaxis()
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _lines(axes: Any, data_set: DataSet, protocol: str, measure: Measure) -> None:
    drawn = False
    for name, values in data_set.references.get(protocol, {}).items():
        if measure in values:
            colour, style = (TARGET, "-") if name == "target" else (REFERENCE, ":")
            axes.axvline(values[measure], color=colour, linestyle=style, linewidth=1.2, label=name)
            drawn = True
    if drawn:
        axes.legend(fontsize=6, loc="upper right")
