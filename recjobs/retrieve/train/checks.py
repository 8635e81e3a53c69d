"""What must hold after training."""

from __future__ import annotations

import math

from recjobs.manifest import Check
from recjobs.retrieve.train.curves import Curves


def training_checks(curves: Curves) -> list[Check]:
    """The loss is finite and did not rise over the epochs until the one that is kept."""
    first, last = curves.epochs[0].loss, curves.best.loss
    finite = math.isfinite(last)
    fell = last <= first
    return [
        Check(
            name="loss_finite", passed=finite, value=last if finite else -1.0, limit=0.0, detail=f"last loss {last:.4f}"
        ),
        Check(
            name="loss_fell",
            passed=fell,
            value=last,
            limit=first,
            detail=f"loss {first:.4f} in the first epoch, {last:.4f} in the last",
            severity="warn",
        ),
    ]
