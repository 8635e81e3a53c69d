"""What a merchandiser may write: rules over the columns of items (docs/rules.md)."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from recjobs.typed import Section


class Range(Section):
    """Numbers from `min` to `max`, both included."""

    min: float | None = None
    """The smallest number that counts; none: no lower end."""
    max: float | None = None
    """The largest number that counts; none: no upper end."""

    @model_validator(mode="after")
    def _has_an_end(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("a range needs min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}")
        return self


Value = bool | str | float | list[str] | list[float] | Range
Where = dict[str, Value]
"""Column = what it must have; several values: one of them; several columns: all of them. An item without a value
matches nothing. A category matches itself and all that is below it."""


class Filter(Section):
    """Items that are let in, or kept out."""

    name: str = ""
    """What reports call the rule."""
    where: Annotated[Where, Field(min_length=1)]
    """Which items."""


class Boost(Section):
    """Items that move up, or down."""

    name: str = ""
    """What reports call the rule."""
    where: Annotated[Where, Field(min_length=1)]
    """Which items."""
    multiply: float = Field(1.0, gt=0)
    """Times an item's weight: above 1 it moves up, below 1 down, whatever sign its score has."""
    add: float = 0.0
    """Standard deviations of the user's own scores that are added; below 0 it moves down."""


class Cap(Section):
    """How often one value of a column may come in a list."""

    column: str
    """The column: brand, seller, category."""
    at_most: int = Field(ge=1)
    """Items of one value."""
    within: int = Field(0, ge=0)
    """The first places that this holds for; 0: the whole list."""
    levels: int = Field(0, ge=0)
    """How many levels of a category's path count as its value; 0: all."""


class Repeat(Section):
    """Whether an item is shown again to a user who had it."""

    name: str = ""
    """What reports call the rule."""
    where: Where = {}
    """Which items; none named: all."""
    event_types: Annotated[list[str], Field(min_length=1)]
    """The event types that count as having had it."""
    repeat: Literal["never", "after", "always"]
    """Never again, again after `days`, or always."""
    days: int = Field(0, ge=0)
    """With `after`: days since the user's last such event."""

    @model_validator(mode="after")
    def _days_with_after(self) -> Self:
        if (self.repeat == "after") != (self.days > 0):
            raise ValueError("days belongs to repeat = 'after', which needs it")
        return self


class Pin(Section):
    """An item with a place of its own."""

    item: str
    """The item's id."""
    place: int = Field(ge=1)
    """Where it stands, the first place being 1."""


class Rules(Section):
    """Rules in the order they are used: include, exclude, repeat, boost, cap, pin."""

    include: list[Filter] = []
    """Where there are any, an item must match one of them."""
    exclude: list[Filter] = []
    """An item must match none of them."""
    repeat: list[Repeat] = []
    """The first that names an item and an event type decides on them."""
    boost: list[Boost] = []
    """An item gets all that match it."""
    cap: list[Cap] = []
    """All are kept at once."""
    pin: list[Pin] = []
    """Items with a place of their own, for everybody who may be shown them."""

    def then(self, further: Rules) -> Rules:
        """These rules, and `further` after them. Includes are not joined: see `filters`."""
        return Rules(
            exclude=self.exclude + further.exclude,
            # The nearer rule decides: a surface's own come before those of all surfaces.
            repeat=further.repeat + self.repeat,
            boost=self.boost + further.boost,
            cap=self.cap + further.cap,
            pin=self.pin + further.pin,
        )

    @property
    def filters(self) -> bool:
        """Whether they keep any item out."""
        return bool(self.include or self.exclude)
