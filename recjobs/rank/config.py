"""Settings of the ranking stages."""

from __future__ import annotations

from recjobs.rank.relations.config import RelationsConfig
from recjobs.rank.score.config import RankScoreConfig
from recjobs.rank.train.config import RankTrainConfig
from recjobs.typed import Section


class RankConfig(Section):
    """The DLRM that rescores candidates."""

    train: RankTrainConfig = RankTrainConfig()
    score: RankScoreConfig = RankScoreConfig()
    relations: RelationsConfig = RelationsConfig()
