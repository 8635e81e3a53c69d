"""Settings of `retrieve/train`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from recjobs.typed import Section


class ValidationConfig(Section):
    """Early stopping: the latest days are held out of training and judged on after each epoch."""

    days: int = Field(1, ge=1)
    """How many of the last days until `train_until` are held out."""
    users: int = Field(5000, ge=1)
    """How many users with something in those days are looked at, at most; always the same ones."""
    k: int = Field(10, ge=1)
    """Recall and NDCG are of the first K of all items with an event."""
    measure: Literal["ndcg", "recall"] = "ndcg"
    """Which of them decides."""
    every: int = Field(1, ge=1)
    """How many epochs lie between two looks."""
    patience: int = Field(3, ge=1)
    """After how many looks in a row without a better value training stops; the best epoch's weights are kept."""
    refit: bool = False
    """Whether the towers are trained again from the start, for as many epochs, with the held-out days. That is up to
    twice the time; without it the towers have not seen the latest days."""


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
    item_embedding: bool = True
    """Whether the item tower has an embedding of the item's id beside its content. Without, an item is its content."""
    ignored_item_columns: list[str] = []
    """Columns of items that the towers do not read: of title, description, category, brand, seller, language, price,
    created_at and the declared ones."""
    ignored_user_columns: list[str] = []
    """Columns of users that the towers do not read: of country, region, language, age_band, interests and the declared
    ones."""
    event_types: bool = True
    """Whether the history tells a view from a purchase."""
    event_ages: bool = True
    """Whether the history tells how many days ago an event was; without, only their order."""
    activity: bool = True
    """Whether the user tower counts how active the user is: events, days with one, days since the oldest."""
    context: list[Literal["weekday", "hour", "device"]] = []
    """What is known of the visit that is foreseen. The weekday of a nightly list is the following day's; its hour
    (UTC) is unknown, so learning it only keeps it from blurring the rest; its device is `list_device`."""
    context_dropout: float = Field(0.5, ge=0, lt=1)
    """Share of training windows whose hour is hidden, and of those whose device is, so that an unknown one works."""
    list_device: str | None = Field(None, min_length=1)
    """The device that lists are for, as events name it, where they are read on one alone: an app's. Without it each
    user's is the one most of their history is from, since nobody knows at night which they will take, and few change
    it; of a user without any it is unknown."""
    start: Literal["random", "cooccurrence"] = "cooccurrence"
    """What item vectors a full training starts from: chance, or the singular vectors of who follows whom."""
    history_embedding: bool = True
    """Whether an item has another vector in a history than as a candidate."""
    targets: Literal["next_day", "next_event"] = "next_day"
    """Where an event is foreseen from: the end of the user's last active day before it, as a nightly list is, or
    the event before it."""
    positions: Literal["every", "last"] = "every"
    """Where in a window targets are foreseen from: from every position of the history that has one, or the last."""
    crowding: float = Field(0.5, ge=0, le=1)
    """How much the targets of one day crowd each other out: 0 counts every event alike, 1 every day alike."""
    half_life_days: float | None = Field(None, gt=0)
    """Days before `train_until` after which a target counts half; none counts all alike."""
    similarity: Literal["cosine", "dot"] = "cosine"
    """Whether the towers' vectors have length 1."""
    temperature: float = Field(0.1, gt=0)
    """Divides the logits."""
    objective: Literal["auto", "full", "sampled"] = "auto"
    """The exact softmax over all items, or over the batch's targets and sampled negatives; `auto` goes by size."""
    full_softmax_below: int = Field(20_000, ge=0)
    """With `auto`, catalogues smaller than this are trained with the exact softmax."""
    sampled_negatives: int = Field(1024, ge=0)
    """Items sampled as negatives beside the batch's own targets, at each step."""
    negative_power: float = Field(0.0, ge=0, le=1)
    """How they are sampled: 0 all alike, 1 as often as they have events."""
    logq: bool = True
    """Whether negatives are corrected for how often they come up. Without, popular items are pushed down."""
    optimizer: Literal["adam", "adagrad"] = "adam"
    """Adagrad touches only the rows of a step: take it for catalogues of a million items."""
    batch_size: int = Field(256, ge=1)
    """Sequences per training step."""
    positions_per_step: int = Field(8192, ge=2)
    """Bound on sequences × length of a step: long sequences make smaller batches, and memory stays bounded."""
    epochs: int = Field(10, ge=1)
    """Passes over the training sequences; the most there are with `validation`."""
    validation: ValidationConfig | None = None
    """Early stopping on the latest days. Off where nothing is set: a night has few epochs, and needs its last day."""
    checkpoint_minutes: float = Field(5.0, ge=0)
    """How long after the last save the end of an epoch is saved again, for a killed training to go on from."""
    tensorboard: bool = False
    """Whether event files for TensorBoard are written, epoch by epoch."""
    precision: Literal["auto", "float32", "mixed"] = "auto"
    """Numbers in matrix products: `mixed` are 16 bits wide on a GPU, with loss scaling. `auto` is that where a GPU has
    them, else float32."""
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
    """Hash buckets of the country; region, language, age band and device have as many each."""
    user_buckets: int = Field(1024, ge=2)
    """Hash buckets of each declared categorical column of users."""
    item_buckets: int = Field(16_384, ge=2)
    """Hash buckets of category prefixes, brands, sellers and declared categorical columns together."""

    def is_full_softmax(self, items: int) -> bool:
        """Whether a catalogue of so many items with an event is trained with the exact softmax."""
        return self.objective == "full" or (self.objective == "auto" and items < self.full_softmax_below)

    @model_validator(mode="after")
    def _device_is_read(self) -> RetrieveTrainConfig:
        if self.list_device is not None and "device" not in self.context:
            raise ValueError(f'list_device {self.list_device!r} is read only where context has "device"')
        return self

    @model_validator(mode="after")
    def _heads_divide(self) -> RetrieveTrainConfig:
        if self.encoder == "attention" and self.embedding_size % self.heads:
            raise ValueError(f"embedding_size {self.embedding_size} is not divisible by heads {self.heads}")
        return self
