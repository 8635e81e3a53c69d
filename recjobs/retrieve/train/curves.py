"""The loss by step and epoch, and what validation said, as JSON and as a picture."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, dataclass, field
from typing import Any

from recjobs import storage
from recjobs.manifest import Output

MAX_POINTS = 1000


@dataclass(frozen=True)
class Epoch:
    """One pass: mean loss of a target, seconds, of these waited for input, windows a second, what validation said."""

    epoch: int
    loss: float
    seconds: float
    input_seconds: float
    windows_per_second: float
    validation: dict[str, float] | None = None


@dataclass
class Curves:
    """The loss of every step, and every epoch; of how many epochs the weights are."""

    steps: list[float] = field(default_factory=list)
    epochs: list[Epoch] = field(default_factory=list)
    best_epoch: int = 0

    @property
    def best(self) -> Epoch:
        """The epoch whose weights are kept."""
        return self.epochs[self.best_epoch - 1]

    def dump(self) -> dict[str, Any]:
        """As JSON-serialisable values."""
        return asdict(self)

    @staticmethod
    def of(content: dict[str, Any]) -> Curves:
        """The curves that `dump` wrote."""
        return Curves(content["steps"], [Epoch(**epoch) for epoch in content["epochs"]], content["best_epoch"])


def write_curves(curves: Curves, out: Output) -> None:
    """Writes `curves.json` and `curves.png`; steps are averaged into at most 1,000 points."""
    points = thinned(curves.steps)
    content = {"steps": points, "epochs": [asdict(epoch) for epoch in curves.epochs], "best_epoch": curves.best_epoch}
    storage.write_bytes(out.uri("curves.json"), json.dumps(content, indent=1).encode())
    storage.write_bytes(out.uri("curves.png"), _picture(points, curves))


def thinned(losses: list[float]) -> list[dict[str, float]]:
    """Means of as many steps in a row as make at most 1,000 points."""
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
    _add_validation(axes, curves, per_epoch)
    axes.legend(loc="upper center")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100, metadata={"Software": None})
    return buffer.getvalue()


def _add_validation(axes: Any, curves: Curves, per_epoch: float) -> None:
    judged = [epoch for epoch in curves.epochs if epoch.validation]
    if not judged:
        return
    beside = axes.twinx()
    for name, style in (("recall", ":"), ("ndcg", "--")):
        values = [epoch.validation[name] for epoch in judged if epoch.validation]
        beside.plot([epoch.epoch * per_epoch for epoch in judged], values, style, color="tab:green", label=name)
    beside.axvline(curves.best_epoch * per_epoch, color="tab:green", alpha=0.3)
    beside.set_ylabel("validation")
    beside.set_ylim(bottom=0)
    beside.legend(loc="lower right")
