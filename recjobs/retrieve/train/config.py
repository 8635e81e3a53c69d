"""Settings of `retrieve/train`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from recjobs.typed import Section


class RetrieveTrainConfig(Section):
    """The two towers and how they are trained."""

    encoder: Literal["mean", "gru", "attention"] = "attention"
    """How the history becomes one vector."""
    embedding_size: int = Field(64, ge=4, le=1024)
    """Width of the towers' vectors and of the id embeddings."""
    sequence_length: int = Field(20, ge=1, le=500)
    """How many of the last events the history encoder sees."""
    windows_per_user: int = Field(10, ge=1)
    """How many times `sequence_length` targets a user has at most in training, the latest ones."""
    blocks: int = Field(2, ge=1, le=12)
    """Layers of the attention encoder."""
    heads: int = Field(2, ge=1)
    """Heads of an attention layer; divides `embedding_size`."""
    dropout: float = Field(0.3, ge=0, lt=1)
    """Dropout in the history encoder."""
    unknown_id_dropout: float = Field(0.1, ge=0, lt=1)
    """Share of ids replaced by the unknown id in training, so that new ids work."""
    user_embedding: bool = True
    """Whether the user tower has an embedding of the user's id beside the history."""
    targets: Literal["next_day", "next_event"] = "next_day"
    """Where an event is foreseen from: the end of the user's last active day before it, as a nightly list is, or
    the event before it."""
    crowding: float = Field(0.5, ge=0, le=1)
    """How much the targets of one day crowd each other out: 0 counts every event alike, 1 every day alike."""
    half_life_days: float | None = Field(None, gt=0)
    """Days before `train_until` after which a target counts half; none counts all alike."""
    similarity: Literal["cosine", "dot"] = "cosine"
    """Whether the towers' vectors have length 1."""
    temperature: float = Field(0.1, gt=0)
    """Divides the logits."""
    full_softmax_below: int = Field(20_000, ge=0)
    """Catalogues smaller than this are trained with the exact softmax over all items, larger ones with
    in-batch negatives."""
    optimizer: Literal["adam", "adagrad"] = "adam"
    """Adagrad touches only the rows of a step: take it for catalogues of a million items."""
    batch_size: int = Field(256, ge=1)
    """Sequences per training step."""
    positions_per_step: int = Field(8192, ge=2)
    """Bound on sequences × length of a step: long sequences make smaller batches, and memory stays bounded."""
    epochs: int = Field(10, ge=1)
    """Passes over the training sequences."""
    learning_rate: float = Field(1e-3, gt=0)
    """The schedule's peak."""
    warm_up_share: float = Field(0.05, ge=0, lt=1)
    """Share of the steps in which the learning rate rises; afterwards it falls on a cosine."""
    warm_start: bool = True
    """Whether a night goes on from the towers of an earlier one instead of training in full."""
    full_every: int = Field(7, ge=1)
    """A full training at least every so many nights."""
    drift_limit: float = Field(0.1, gt=0)
    """A full training follows a night whose drift is above it: the share of the lift over popularity that the
    towers have lost since the last one."""
    warm_share: float = Field(0.12, gt=0, le=1)
    """What a warm night trains on, as a share of a full training's windows: all users with new events first."""
    warm_windows: int = Field(2, ge=1)
    """A user's windows in a warm night, the latest ones."""
    warm_learning_rate: float = Field(0.5, gt=0, le=1)
    """The learning rate's peak in a warm night, as a share of `learning_rate`."""
    country_buckets: int = Field(64, ge=2)
    """Hash buckets of the country; region, language and age band have as many each."""
    item_buckets: int = Field(16_384, ge=2)
    """Hash buckets of category prefixes, brands, sellers and declared categorical columns together."""

    @model_validator(mode="after")
    def _heads_divide(self) -> RetrieveTrainConfig:
        if self.encoder == "attention" and self.embedding_size % self.heads:
            raise ValueError(f"embedding_size {self.embedding_size} is not divisible by heads {self.heads}")
        return self
