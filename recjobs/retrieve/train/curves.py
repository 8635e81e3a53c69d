"""The loss by step and epoch as JSON and as a picture."""

from __future__ import annotations

import io
import json
from dataclasses import asdict

from recjobs import storage
from recjobs.manifest import Output
from recjobs.retrieve.train.fit import Curves

MAX_POINTS = 1000


def write_curves(curves: Curves, out: Output) -> None:
    """Writes `curves.json` and `curves.png`; steps are averaged into at most 1,000 points."""
    points = _thinned(curves.steps)
    content = {"steps": points, "epochs": [asdict(epoch) for epoch in curves.epochs]}
    storage.write_bytes(out.uri("curves.json"), json.dumps(content, indent=1).encode())
    storage.write_bytes(out.uri("curves.png"), _picture(points, curves))


def _thinned(losses: list[float]) -> list[dict[str, float]]:
    stride = -(-len(losses) // MAX_POINTS) or 1
    groups = (losses[start : start + stride] for start in range(0, len(losses), stride))
    return [{"step": float(number * stride), "loss": sum(group) / len(group)} for number, group in enumerate(groups)]


def _picture(points: list[dict[str, float]], curves: Curves) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    per_epoch = len(curves.steps) / len(curves.epochs)
    axes.plot([point["step"] for point in points], [point["loss"] for point in points], alpha=0.4, label="step")
    ends = [epoch.epoch * per_epoch for epoch in curves.epochs]
    axes.plot(ends, [epoch.loss for epoch in curves.epochs], marker="o", label="mean of the epoch")
    axes.set_xlabel("step")
    axes.set_ylabel("cross-entropy of a target")
    axes.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100, metadata={"Software": None})
    return buffer.getvalue()
