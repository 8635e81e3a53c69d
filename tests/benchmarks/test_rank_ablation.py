"""Every group that the ranker's ablation switches off is there to be switched off."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from benchmarks.rank_ablation import ALL, GROUPS
from recjobs.rank.block import Block
from recjobs.rank.relations.features import FEATURES
from tests.planted import Planted
from tests.rank.planted_candidates import planted_night
from tests.rank.test_features import described

RELATIONS = "relations"
KINDS = ("", "standard_", "closeness_")
WORLD = Planted(users=10, items=8, groups=2, days=4, events_per_user=6, shards=1)


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    folder: Path = tmp_path_factory.mktemp("night")
    night = planted_night(folder, WORLD)
    blocks: tuple[Block, ...] = described(night.extract, night.search, night.settings)[1:]
    return {
        where: [*block.layout.dense, *(name for name, _ in block.layout.sparse)]
        for where, block in zip(("user", "item", "pair"), blocks, strict=True)
    }


@pytest.mark.parametrize("group", [group for group in GROUPS if group not in (ALL, RELATIONS)])
def test_every_pattern_of_a_group_names_a_feature(group: str, names: dict[str, list[str]]) -> None:
    for pattern in GROUPS[group]:
        where, name = pattern.split(":")
        assert any(fnmatchcase(known, name) for known in names[where]), pattern


def test_the_relations_group_has_all_relations_and_nothing_else(names: dict[str, list[str]]) -> None:
    own = [f"{kind}{relation}_{speaker}" for kind in KINDS for relation in FEATURES for speaker in FEATURES[relation]]
    patterns = [pattern.removeprefix("pair:") for pattern in GROUPS[RELATIONS]]
    assert [name for name in own if not any(fnmatchcase(name, pattern) for pattern in patterns)] == []
    assert [name for name in names["pair"] if any(fnmatchcase(name, pattern) for pattern in patterns)] == []


def test_all_pair_features_belong_to_a_group(names: dict[str, list[str]]) -> None:
    patterns = [pattern.removeprefix("pair:") for group in GROUPS.values() for pattern in group if "pair:" in pattern]
    assert [name for name in names["pair"] if not any(fnmatchcase(name, pattern) for pattern in patterns)] == []
