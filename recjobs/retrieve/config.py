"""Settings of the retrieval stages."""

from __future__ import annotations

from recjobs.retrieve.search.config import RetrieveSearchConfig
from recjobs.retrieve.train.config import RetrieveTrainConfig
from recjobs.typed import Section


class RetrieveConfig(Section):
    """The two-tower model and the search over its vectors."""

    train: RetrieveTrainConfig = RetrieveTrainConfig()
    search: RetrieveSearchConfig = RetrieveSearchConfig()
