"""Settings of `retrieve/train`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from recjobs.typed import Section


class RetrieveTrainConfig(Section):
    """The two towers and how they are trained."""

    encoder: Literal["mean", "gru", "attention"] = "attention"
    """How the history becomes one vector."""
    embedding_size: int = Field(64, ge=4, le=1024)
    """Width of the towers' vectors and of the id embeddings."""
    sequence_length: int = Field(20, ge=1, le=500)
    """How many of the last events the history encoder sees."""
    blocks: int = Field(2, ge=1, le=12)
    """Layers of the attention encoder."""
    heads: int = Field(2, ge=1)
    """Heads of an attention layer."""
    dropout: float = Field(0.3, ge=0, lt=1)
    """Dropout in the history encoder."""
    unknown_id_dropout: float = Field(0.1, ge=0, lt=1)
    """Share of ids replaced by the unknown id in training, so that new ids work."""
    temperature: float = Field(0.1, gt=0)
    """Divides the logits of normalised vectors."""
    batch_size: int = Field(256, ge=8)
    """Sequences per training step."""
    epochs: int = Field(10, ge=1)
    """Passes over the training sequences."""
    learning_rate: float = Field(1e-3, gt=0)
    """The schedule's peak."""
    country_buckets: int = Field(64, ge=2)
    """Hash buckets of the country."""
