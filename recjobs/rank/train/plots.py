"""`calibration.png`: observed rate against predicted, by task."""

from __future__ import annotations

import io

from recjobs.rank.train.calibrate import reliability
from recjobs.rank.train.trial import Calibrated


def calibration_plot(calibrated: Calibrated, tasks: tuple[str, ...]) -> bytes:
    """A PNG with one panel per task; the diagonal is perfect calibration."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.0 * len(tasks), 4.0), layout="constrained")
    for column, task in enumerate(tasks):
        axes = figure.add_subplot(1, len(tasks), column + 1)
        predicted, observed, _ = reliability(
            calibrated.probability[:, column], calibrated.labels[:, column], calibrated.weight
        )
        top = max([*predicted, *observed, 1e-3]) * 1.05
        axes.plot([0, top], [0, top], color="grey", linewidth=1)
        axes.plot(predicted, observed, marker="o")
        axes.set(title=task, xlabel="predicted probability", ylabel="observed rate", xlim=(0, top), ylim=(0, top))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()
