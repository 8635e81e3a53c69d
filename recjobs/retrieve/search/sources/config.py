"""Settings of the candidate sources."""

from __future__ import annotations

from pydantic import Field

from recjobs.typed import Section


class TowersConfig(Section):
    """The two towers. Their quota is `retrieve.search.candidates`."""

    weight: float = Field(1.0, ge=0)
    """Weight of the dot product, standardised per user, in the retrieval order."""


class CooccurrenceConfig(Section):
    """Items that follow or accompany what the user had, the last events counting most."""

    quota: int = Field(50, ge=0)
    """Candidates per user that this source may bring; 0 switches it off."""
    weight: float = Field(1.0, ge=0)
    """Weight of its score, standardised per user, in the retrieval order."""
    reach: int = Field(20, ge=1, le=500)
    """How many of a user's next events an event is paired with."""
    backward: float = Field(0.5, ge=0, le=1)
    """What an item says for one that came before it, where for one that came after it says 1."""
    damping_from: float = Field(0.5, ge=0, le=1)
    """Exponent by which the popularity of the item the user had lowers a similarity."""
    damping_to: float = Field(0.2, ge=0, le=1)
    """Exponent by which the popularity of the proposed item lowers a similarity."""
    shrinkage: float = Field(5.0, ge=0)
    """Events added to every item's popularity there: few common users say little."""
    neighbours: int = Field(200, ge=1)
    """Most similar items kept per item."""
    longest: int = Field(500, ge=2)
    """How many of a user's last events pairs are made of: a robot's history must not drown everybody's."""
    events: int = Field(20, ge=1)
    """How many of the user's latest (item, event type) pairs speak."""
    recency: float = Field(0.7, gt=0, le=1)
    """What an event weighs against those at the user's next later moment."""


class RepeatConfig(Section):
    """Items the user had before: more for those had often, most when the item's usual interval is over."""

    quota: int = Field(20, ge=0)
    """Candidates per user that this source may bring; 0 switches it off."""
    weight: float = Field(0.5, ge=0)
    """Weight of its score, standardised per user, in the retrieval order."""
    early: float = Field(0.5, ge=0, le=1)
    """What an item weighs right after it was had; it rises to 1 until its interval is over."""
    half_life: float = Field(2.0, gt=0)
    """How many further intervals halve the weight."""
    half_life_days: float | None = Field(None, gt=0)
    """Days after which an item weighs half, whatever its interval; none goes by intervals. For shops whose customers
    restock when they happen to come by."""
    interval_days: float = Field(30.0, gt=0)
    """An item's interval where nobody has had an item twice."""
    shrinkage: float = Field(10.0, gt=0)
    """Repeats of the average item added to each item's own when its interval is estimated."""


class SegmentConfig(Section):
    """What is popular among users like this one, falling to what is popular with everybody."""

    quota: int = Field(20, ge=0)
    """Candidates per user that this source may bring; 0 switches it off."""
    weight: float = Field(0.1, ge=0)
    """Weight of its score, standardised per user, in the retrieval order."""
    by: list[str] = ["country"]
    """Columns of the user states that together make a segment; a user without one of them is only in `all`."""
    half_life_days: float = Field(14.0, gt=0)
    """Days after which an event counts half."""
    shrinkage: float = Field(200.0, gt=0)
    """Weight of the popularity with everybody in a segment's, in units of event weight."""
    segments: int = Field(500, ge=1)
    """The largest segments that have a popularity of their own; memory is this many × items × 4 bytes."""


class NewConfig(Section):
    """Items first seen lately, by users per day of life."""

    quota: int = Field(10, ge=0)
    """Candidates per user that this source may bring; 0 switches it off."""
    weight: float = Field(0.0, ge=0)
    """Weight of its score, standardised per user, in the retrieval order."""
    days: float = Field(14.0, gt=0)
    """How many days an item is new, from `created_at`, or its first event where that is unknown."""
    shrinkage_days: float = Field(3.0, gt=0)
    """Days of average demand added to each new item's life: one user on the first day is no trend."""


class EaseConfig(Section):
    """EASE, a linear item-to-item model in closed form over all the user had: for shops of some thousand items."""

    quota: int = Field(0, ge=0)
    """Candidates per user that this source may bring; 0 switches it off."""
    weight: float = Field(0.5, ge=0)
    """Weight of its score, standardised per user, in the retrieval order."""
    l2: float = Field(400.0, gt=0)
    """The penalty: more draws the weights of pairs with few common users towards 0."""
    half_life_days: float = Field(120.0, gt=0)
    """Days after which what the user had speaks half as loud."""
    most_items: int = Field(10_000, ge=1, le=30_000)
    """The most popular items, which take part; memory is their square × 4 bytes, 0.4 GB for 10,000."""
    neighbours: int = Field(200, ge=1)
    """Weights kept per item, the largest."""


class SourcesConfig(Section):
    """The candidate sources. With all quotas 0 but the towers', the order is theirs and the score their dot product."""

    towers: TowersConfig = TowersConfig()
    cooccurrence: CooccurrenceConfig = CooccurrenceConfig()
    repeat: RepeatConfig = RepeatConfig()
    segment: SegmentConfig = SegmentConfig()
    new: NewConfig = NewConfig()
    ease: EaseConfig = EaseConfig()

    @property
    def quotas(self) -> dict[str, int]:
        """Quota by source beside the towers, of the sources that are on."""
        return {name: source.quota for name, source in self if name != "towers" and source.quota}

    @property
    def weights(self) -> dict[str, float]:
        """Weight by source."""
        return {name: source.weight for name, source in self}
