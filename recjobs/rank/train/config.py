"""Settings of `rank/train`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from recjobs.flow import MOST_WINDOWS
from recjobs.typed import Section


class RankTrainConfig(Section):
    """The DLRM and how it is trained."""

    label_windows: int = Field(4, ge=1, le=MOST_WINDOWS)
    """How many windows of `time.label_days` are learnt from: the last one always, of those before it the ones whose
    candidates earlier runs have made."""
    embedding_size: int = Field(16, ge=2, le=512)
    """Width of each sparse feature's embedding and of the dense arch's output."""
    dense_layers: list[int] = [64, 32]
    """Hidden widths of the dense arch."""
    over_layers: list[int] = [64, 32]
    """Hidden widths of the shared bottom above the interaction."""
    negatives_per_user: int = Field(50, ge=1)
    """Candidates without an outcome that are learnt from, per user with an outcome."""
    held_out_share: float = Field(0.2, gt=0, lt=0.9)
    """Share of outcomes, the latest ones, held out to choose the blend."""
    batch_size: int = Field(1024, ge=8)
    """Pairs per training step, at most."""
    min_steps: int = Field(500, ge=0)
    """Steps of a training at least: with few pairs batches are smaller for it, down to 64 pairs."""
    listwise: float = Field(0.0, ge=0, le=1)
    """Share of the loss that tells a user's pairs from each other (a softmax over them) instead of judging each by
    itself. Order is learnt better so where most users have one outcome of one task."""
    epochs: int = Field(3, ge=1)
    """Passes over the pairs."""
    learning_rate: float = Field(2e-3, gt=0)
    """The schedule's peak."""
    item_buckets: int = Field(20_000, ge=2)
    """Hash buckets of the item id, the unknown one included."""
    value_buckets: int = Field(1000, ge=2)
    """Hash buckets of category, brand, country and the like, the unknown one included."""
    ignored_features: list[Annotated[str, Field(pattern="^(user|item|pair):.+$")]] = []
    """Features the ranker does without, as `block:name` with `*` for anything: `user:*`, `pair:score_*`."""
    users_limit: int = Field(100_000, ge=1)
    """At most this many users with an outcome are learnt from in each window, and as many without one."""
    judged_users: int = Field(3000, ge=1)
    """At most this many users with an outcome choose the blend; all their candidates are scored."""
    min_positives: int = Field(20, ge=2)
    """With fewer pairs that had an outcome in either part the ranker isn't trusted: the blend weight is 0."""
    utility: dict[str, float] = {}
    """Weight of each task in the final score; by default the largest event weight of the task."""
