"""Settings of the generated marketplace."""

from __future__ import annotations

from pydantic import Field

from recjobs.typed import Section


class MarketplaceConfig(Section):
    """How big the generated marketplace is, and how strongly its people differ."""

    seed: int = Field(17, ge=0)
    """Where all of it comes from: the same seed gives the same marketplace on any day."""
    users: int = Field(4_000, ge=10)
    """Users at any time; newcomers replace those who leave."""
    items: int = Field(1_500, ge=200)
    """Items on sale at any time; new ones replace those that end."""
    days: int = Field(45, ge=1, le=3650)
    """Days of history that `recjobs generate` writes."""
    user_life_days: int = Field(240, ge=10, le=2000)
    """How long users stay on average; 1 in this many is new each day."""
    item_life_days: int = Field(180, ge=10, le=2000)
    """How long items are on sale on average; 1 in this many is new each day."""
    events_per_user_day: float = Field(2.8, gt=0, le=50)
    """Events for each user and day, about; most users don't come every day."""
    views_per_visit: float = Field(6.0, ge=1, le=100)
    """Items looked at in a visit, on average."""
    zipf_exponent: float = Field(0.6, ge=0, le=1.5)
    """How steep popularity is: an item's appeal falls with its rank to this power."""
    taste_strength: float = Field(1.6, ge=0, le=5)
    """How much users differ in the categories they like; 0 makes them all alike."""
    style_strength: float = Field(1.6, ge=0, le=5)
    """How much users prefer brands of their own style within a category."""
    interest_share: float = Field(0.4, ge=0, lt=1)
    """Share of views that go to what a user is after these days."""
    return_share: float = Field(0.2, ge=0, lt=1)
    """Share of views that go back to items of the last days, or to a consumable that runs out."""
    dirty_share: float = Field(0.004, ge=0, le=0.5)
    """Bad rows for each good one, repeated events included."""
    late_share: float = Field(0.003, ge=0, le=0.5)
    """Share of visits whose events arrive a day late."""
    shown: int = Field(20, ge=1, le=1000)
    """How many items of a list the app shows to a visitor."""
