"""What each part off alone changes, as bars around the shipped config, with the noise of a difference behind them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from matplotlib import pyplot as plt

from benchmarks.quality.picture import OTHERS, OURS, TARGET, save

LEFT_OUT = ("train_seconds",)


def draw(path: Path, data: str, less: Mapping[str, Mapping[str, float]], noise: Mapping[str, float]) -> None:
    """A PNG with a column of bars for each figure; grey is within two deviations of the noise."""
    if not less:
        return
    names = [name for name in next(iter(less.values())) if name not in LEFT_OUT]
    figure, grid = plt.subplots(1, len(names), figsize=(3 + 2.4 * len(names), 1.2 + 0.22 * len(less)), squeeze=False)
    for place, (axes, name) in enumerate(zip(grid[0], names, strict=True)):
        band = 2 * noise.get(name, 0.0)
        values = [row[name] for row in less.values()]
        colours = [OTHERS if abs(value) <= band else TARGET if value > 0 else OURS for value in values]
        axes.axvspan(-band, band, color="#e6eaed", zorder=0)
        axes.barh(list(less), values, color=colours, zorder=2)
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set_title(name, fontsize=8)
        axes.invert_yaxis()
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
        if place:
            axes.set_yticklabels([])
    figure.suptitle(f"{data}: each part off alone, difference from the shipped config", fontsize=10)
    save(figure, path)
