"""Settings of `extract`."""

from __future__ import annotations

from pydantic import Field

from recjobs.typed import Section


class ExtractConfig(Section):
    """What is kept of events, and how many bad rows are too many."""

    history_length: int = Field(50, ge=1, le=1000)
    """How many of a user's last events with an item the state keeps."""
    pair_limit: int = Field(1000, ge=1)
    """How many of a user's latest (item, event type) pairs the state keeps."""
    count_windows: list[int] = [1, 7, 28]
    """Windows of the counts, in days up to and with the data date."""
    title_tokens: int = Field(12, ge=1, le=200)
    """How many tokens of a title are kept."""
    text_tokens: int = Field(32, ge=1, le=500)
    """How many tokens of any other text are kept: a description, a declared text column, a user's interests."""
    token_users: int = Field(3, ge=1)
    """A word of users' own texts is a token when this many users have it, or an item's text has it: what one user
    alone writes is kept nowhere but in the user's own row."""
    token_limit: int = Field(20_000, ge=1)
    """How many tokens the vocabulary has, the most frequent ones."""
    quarantine_limit: float = Field(0.02, ge=0, le=1)
    """The share of bad rows above which the run fails."""
