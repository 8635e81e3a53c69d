"""Settings of `compose`."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from recjobs.compose.rules_config import Rules
from recjobs.typed import Section


class MmrConfig(Section):
    """Diversity by maximal marginal relevance: each place goes to what is good and unlike what stands above it."""

    relevance: float = Field(1.0, ge=0, le=1)
    """The weight of the score; the rest is the weight of being unlike. 1: off."""
    places: int = Field(20, ge=1)
    """The first places that are chosen so; what is left follows in the order it had."""
    depth: int = Field(60, ge=1, le=1000)
    """The best items of a user that they are chosen from."""


class ClusterConfig(Section):
    """Diversity by clusters of item vectors."""

    at_most: int = Field(0, ge=0)
    """Items of one cluster in each window of places. 0: off."""
    window: int = Field(10, ge=2)
    """Places of a window: 1 to 10, 11 to 20, …"""


class ExploreConfig(Section):
    """Places that show new items to some users, so that something is learnt of them."""

    share: float = Field(0.0, ge=0, le=1)
    """Share of lists in which `places` go to new items. 0: off."""
    places: list[int] = []
    """The places, the first being 1."""
    pool: int = Field(100, ge=1, le=500)
    """At most so many items are tried on one date: the youngest."""
    below_events: int = Field(5, ge=0)
    """An item with fewer events is tried too, however old; a new one (`new_days`) always."""


class DitherConfig(Section):
    """A little noise in the order, so that a list is not the same every day."""

    strength: float = Field(0.0, ge=0, le=3)
    """Standard deviation of the noise on the logarithm of an item's place; 0.3 is mild. 0: off."""


class SurfaceConfig(Section):
    """One place in the app that shows lists."""

    length: int = Field(50, ge=1, le=1000)
    """How many items a stored list has; more than is shown, so that some may sell out."""
    no_repeat: list[str] = []
    """Event types after which an item is not shown to that user again, where no rule says otherwise."""
    rules: Rules = Rules()
    """This surface's own, besides those of all surfaces."""
    mmr: MmrConfig = MmrConfig()
    """Diversity by item vectors."""
    clusters: ClusterConfig = ClusterConfig()
    """Diversity by clusters of them."""
    explore: ExploreConfig = ExploreConfig()
    """New items for some users."""
    dither: DitherConfig = DitherConfig()
    """Noise in the order."""

    @property
    def explores(self) -> bool:
        """Whether some lists show new items on purpose."""
        return self.explore.share > 0 and bool(self.explore.places)


class ComposeConfig(Section):
    """How scored candidates become lists."""

    surfaces: dict[str, SurfaceConfig] = {"home": SurfaceConfig()}
    """Surfaces by name; the app's default one is `home`."""
    rules: Rules = Rules()
    """Rules of all surfaces."""
    unknown_values: Literal["refuse", "warn"] = "refuse"
    """What happens when a rule names a value that no item has: the run stops, or notes it and goes on."""
    cluster_count: int = Field(50, ge=2)
    """How many clusters the item vectors are parted into, where a surface asks for them."""
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

    @model_validator(mode="after")
    def _places_are_free(self) -> Self:
        for name, surface in self.surfaces.items():
            pinned = [pin.place for pin in (*self.rules.pin, *surface.rules.pin)]
            places = [*pinned, *surface.explore.places]
            taken = sorted({place for place in places if places.count(place) > 1})
            if taken:
                raise ValueError(f"surface {name!r}: place {taken[0]} is pinned or explored twice")
            beyond = [place for place in places if not 1 <= place <= surface.length]
            if beyond:
                raise ValueError(f"surface {name!r}: place {beyond[0]} is not in a list of {surface.length}")
        return self

    def rules_of(self, surface: str) -> Rules:
        """What holds on `surface`: the rules of all and its own, but for includes."""
        return self.rules.then(self.surfaces[surface].rules)
