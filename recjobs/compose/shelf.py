"""What one surface is made of: its catalogue, what is popular in it, its rules and its steps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recjobs.compose.audience import Audience
from recjobs.compose.catalogue import Catalogue
from recjobs.compose.config import SurfaceConfig
from recjobs.compose.popularity import Popularity
from recjobs.compose.rulebook import Rulebook
from recjobs.compose.steps import Scene, Step
from recjobs.ragged import rows_of


@dataclass(frozen=True)
class Shelf:
    """All that the lists of one surface are made with."""

    config: SurfaceConfig
    catalogue: Catalogue
    """Eligible is what the surface's rules let in."""
    popularity: Popularity
    """Of eligible items alone."""
    book: Rulebook
    now: int
    """The end of the users' histories, in Unix seconds."""
    steps: tuple[Step, ...]

    def scene(self, audience: Audience) -> Scene:
        """What the steps see of `audience`."""
        return Scene(
            audience,
            self.catalogue,
            self.popularity,
            self.config,
            bars=self.book.bars,
            now=self.now,
            propensity=propensity_of(self.config, self.book),
        )


def propensity_of(config: SurfaceConfig, book: Rulebook) -> float | None:
    """The chance that exploring shows an item of the pool at one of its places; None where nothing is explored."""
    return config.explore.share / max(len(book.pool), 1) if config.explores else None


def narrowed(popularity: Popularity, eligible: npt.NDArray[np.bool_]) -> Popularity:
    """What is popular among `eligible` (bool[I + 1]) items alone; segments stay, also those left empty."""
    kept = eligible[popularity.items]
    if kept.all():
        return popularity
    segments = rows_of(popularity.lengths)[kept]
    lengths = np.bincount(segments, minlength=len(popularity.segments))
    starts = np.r_[0, np.cumsum(lengths)].astype(np.int64)
    return Popularity(popularity.segments, popularity.items[kept], popularity.weights[kept], starts)
