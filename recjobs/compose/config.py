"""Settings of `compose`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from recjobs.typed import Section


class SurfaceConfig(Section):
    """One place in the app that shows lists."""

    length: int = Field(50, ge=1, le=1000)
    """How many items a stored list has; more than is shown, so that some may sell out."""
    no_repeat: list[str] = []
    """Event types after which an item is not shown to that user again."""


class ComposeConfig(Section):
    """How scored candidates become lists."""

    surfaces: dict[str, SurfaceConfig] = {"home": SurfaceConfig()}
    """Surfaces by name; the app's default one is `home`."""
    cold_threshold: int = Field(5, ge=0)
    """Users with fewer events get their segment's list, blended with the towers' candidates."""
    cold_share: float = Field(0.5, ge=0, le=1)
    """Share of a list's places that a user without any event gets from the segment's list; with each event the models
    get more of them, up to all at `cold_threshold`."""
    cold_item_threshold: int = Field(5, ge=0)
    """Young items with fewer events go by their content neighbours' scores too, less with each event; 0: none do."""
    cold_item_days: float = Field(28.0, ge=0)
    """Days after which an item with few events is no longer unknown but unwanted, and goes by its own score alone."""
    cold_item_neighbours: int = Field(30, ge=3, le=1000)
    """Nearest warm items that a cold one goes by: by the best third of their scores for the user."""
    segment_by: list[str] = Field(["country"], max_length=6)
    """User columns that make segments; each combination of any of them with support has a list."""
    segment_support: int = Field(50, ge=1)
    """Users a segment needs for a list of its own."""
    segment_window_days: int = Field(28, ge=1)
    """Days of events behind a segment's and the global popularity."""
    exclude_items: list[str] = []
    """Items never shown."""
    reasons: Literal["full", "none"] = "full"
    """Whether rows say why they are shown."""
    reason_history: int = Field(10, ge=0, le=1000)
    """How many of a user's latest items may be named as the reason for a similar one."""
    reason_neighbours: int = Field(10, ge=0, le=1000)
    """How many of an item's nearest items count as similar enough to name it as their reason, if it is near to them."""
    new_days: int = Field(14, ge=0)
    """Days after which an item is no longer called new."""
    item_length: int = Field(10, ge=0)
    """Eligible similar items an item's list should have at least; a shorter one is counted and warned of."""
    idea_clusters: int = Field(40, ge=1, le=1000)
    """Kinds of items, by vector, that content ideas hold demand against supply for; fewer in small catalogues."""
    block_users: int = Field(20_000, ge=1)
    """Users whose lists are made at once; memory grows with it, not with the shard."""
