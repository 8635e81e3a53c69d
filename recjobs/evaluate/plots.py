"""The report's plots, as PNG in base64."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from recjobs.evaluate.baseline import POPULARITY
from recjobs.evaluate.judging import DIFFERENCE, RECJOBS, Row
from recjobs.evaluate.measures import MEASURES

_OURS, _THEIRS, _INK = "#1f5fa8", "#b9bdc4", "#444444"


def metrics_plot(rows: Sequence[Row]) -> str:
    """Each measure of one surface's lists beside popularity's, and the difference with its interval."""
    value = {(row["list"], row["metric"], row["k"]): row["value"] for row in rows}
    shown = [
        (metric, row["k"]) for metric in MEASURES for row in rows if row["list"] == RECJOBS and row["metric"] == metric
    ]
    at = np.arange(len(shown))
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    bars, gaps = figure.subplots(1, 2)
    for shift, name, color in ((-0.2, RECJOBS, _OURS), (0.2, POPULARITY, _THEIRS)):
        bars.bar(at + shift, [value[name, *key] for key in shown], 0.4, label=name, color=color)
    middle = np.array([value[DIFFERENCE, *key] for key in shown])
    ends = [[value[DIFFERENCE, f"{metric}_{end}", k] for metric, k in shown] for end in ("low", "high")]
    reach = np.abs(np.array(ends) - middle)
    gaps.errorbar(at, middle, reach, fmt="o", color=_OURS, ecolor=_INK, capsize=3)
    gaps.axhline(0, color=_INK, linewidth=0.8)
    gaps.set_title("difference, with its interval", fontsize=9)
    bars.legend(frameon=False, fontsize=8)
    for axes in (bars, gaps):
        axes.set_xticks(at, [f"{metric.replace('_', ' ')}\n@{k}" for metric, k in shown], fontsize=7)
        _sober(axes)
    return _png(figure)


def lengths_plot(lengths: Mapping[int, int]) -> str:
    """How many lists have which length."""
    figure = Figure(figsize=(4.2, 2.6), layout="constrained")
    axes = figure.subplots()
    known = sorted(lengths)
    axes.bar([str(length) for length in known], [lengths[length] for length in known], color=_OURS, width=0.5)
    axes.set_xlabel("items on the list", fontsize=8)
    axes.set_ylabel("lists", fontsize=8)
    _sober(axes)
    return _png(figure)


def exposure_plot(exposure: npt.NDArray[np.int64]) -> str:
    """Which share of all places the most shown items hold; `exposure` has a number for each eligible item."""
    ordered = np.sort(exposure)[::-1]
    held = np.cumsum(ordered) / max(ordered.sum(), 1)
    figure = Figure(figsize=(4.2, 2.6), layout="constrained")
    axes = figure.subplots()
    axes.plot(np.r_[0, np.arange(1, len(held) + 1) / max(len(held), 1)], np.r_[0, held], color=_OURS)
    axes.plot([0, 1], [0, 1], color=_THEIRS, linewidth=0.8, linestyle="--")
    axes.set_xlabel("share of items, most shown first", fontsize=8)
    axes.set_ylabel("share of all places", fontsize=8)
    _sober(axes)
    return _png(figure)


def _sober(axes: object) -> None:
    axes.spines[["top", "right"]].set_visible(False)  # type: ignore[attr-defined]
    axes.tick_params(labelsize=7)  # type: ignore[attr-defined]


def _png(figure: Figure) -> str:
    stream = io.BytesIO()
    # Without the version in it, the same numbers give the same bytes.
    figure.savefig(stream, format="png", dpi=110, metadata={"Software": None})
    return base64.b64encode(stream.getvalue()).decode()
