"""The rules of docs/rules.md through the whole stage, and past the gate."""

from __future__ import annotations

import json
import re
from pathlib import Path

import polars as pl
import pytest

from recjobs import columns, storage
from recjobs.columns import ITEM, PROPENSITY, USER
from recjobs.compose import stage, summary
from recjobs.errors import GiveUpError, SettingsError
from recjobs.evaluate import gate
from recjobs.evaluate import stage as evaluate
from recjobs.evaluate.judging import judged_items
from recjobs.manifest import Inputs, Manifest
from recjobs.settings import Settings, load_settings
from tests.compose.planted_candidates import output, planted_inputs
from tests.planted import Planted, planted_extract, planted_settings

SECTIONS = ("compose", "items", "users", "beam", "extract")
DOCS = Path(__file__).parents[2] / "docs" / "rules.md"
SHOP = Planted(users=60, items=40)
CATEGORIES = ["food/fruit", "drinks/alcohol/wine", "tools", "food"]
BRANDS = ["Acme", "Bolt", "Crux", "Dill", "Elm"]


def example() -> str:
    """The TOML of the page."""
    (block,) = re.findall(r"```toml\n(.*?)```", DOCS.read_text(), re.S)
    return str(block)


def shop(folder: Path, toml: str) -> tuple[Settings, Inputs]:
    """The planted shop with categories and brands of the page, and with `toml` as its rules."""
    extract = planted_extract(folder, SHOP, sequences=False)
    uri = extract.uri("items.parquet")
    items = pl.read_parquet(uri)
    number = items[ITEM].str.slice(1).cast(pl.Int32)
    born = pl.datetime(2026, 3, 20, time_zone="UTC")
    items.with_columns(
        pl.Series(columns.CATEGORY, [CATEGORIES[one % 4] for one in number]),
        pl.Series(columns.BRAND, [BRANDS[one % 5] for one in number]),
        pl.when(pl.Series(number >= 32)).then(born).otherwise(pl.col(columns.CREATED_AT)).alias(columns.CREATED_AT),
    ).write_parquet(uri)
    planted_settings(folder, SHOP)
    path = folder / "planted.toml"
    path.write_text(path.read_text().split("[compose]")[0] + toml)
    settings = load_settings(str(path))
    inputs = planted_inputs(folder, extract, settings, candidates=20)
    return settings, inputs


def run(folder: Path, settings: Settings, inputs: Inputs) -> Manifest:
    done = stage.run(inputs, settings.view(SECTIONS), output(folder, "compose", inputs))
    assert [check.name for check in done.checks if not check.passed and check.severity == "refuse"] == []
    return done


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Inputs, Manifest]:
    folder = tmp_path_factory.mktemp("rules")
    settings, inputs = shop(folder, example())
    return settings, inputs, run(folder, settings, inputs)


def lists_of(done: Manifest, surface: str) -> pl.DataFrame:
    return pl.concat([pl.read_parquet(part.uri) for part in done.parts("lists", surface)])


def shown(inputs: Inputs, done: Manifest, surface: str) -> pl.DataFrame:
    """A row for each place, with what the item is."""
    items = pl.read_parquet(inputs["extract"].uri("items.parquet"))
    long = lists_of(done, surface).select(USER, ITEM).explode(ITEM)
    placed = long.with_columns(pl.int_range(1, pl.len() + 1).over(USER).alias("place"))
    return placed.join(items.select(ITEM, columns.CATEGORY, columns.BRAND, columns.PRICE), on=ITEM, how="left")


def buyers(inputs: Inputs, item: str) -> set[str]:
    """Who bought the item."""
    index = pl.read_parquet(inputs["extract"].uri("items.parquet")).filter(pl.col(ITEM) == item)[columns.ITEM_INDEX][0]
    states = pl.concat([pl.read_parquet(part.uri) for part in inputs["extract"].parts("users")])
    had = states.select(USER, columns.PAIR_ITEM, columns.PAIR_TYPE).explode(columns.PAIR_ITEM, columns.PAIR_TYPE)
    return set(had.filter((pl.col(columns.PAIR_ITEM) == index) & (pl.col(columns.PAIR_TYPE) == 2))[USER])


def test_the_pages_example_does_what_it_says(made: tuple[Settings, Inputs, Manifest]) -> None:
    _, inputs, done = made
    home, email = shown(inputs, done, "home"), shown(inputs, done, "email")
    assert home.height == 60 * 8
    assert not home[columns.CATEGORY].str.starts_with("drinks").any()
    # Pinned for everybody but those who bought it: `no_repeat`.
    third = home.filter(pl.col("place") == 3)
    assert set(third.filter(pl.col(ITEM) != "i0006")[USER]) == buyers(inputs, "i0006")
    assert set(email[columns.CATEGORY]) == {"food", "food/fruit", "tools"}
    assert email[columns.PRICE].min() >= 6
    segments = pl.read_parquet(done.uri("segments", "email", columns.part_name(0)))
    assert set(segments[ITEM].explode()) <= set(email[ITEM])
    similar = pl.read_parquet(done.uri("items", columns.part_name(0)))[columns.SIMILAR_ITEM].explode()
    assert {int(one[1:]) % 4 for one in similar.drop_nulls()} == {0, 2, 3}


def test_each_step_is_counted(made: tuple[Settings, Inputs, Manifest]) -> None:
    _, _, done = made
    steps = json.loads(storage.read_bytes(done.uri("steps.json")))
    between = "score boosts cold_start reserve mmr caps_and_clusters cut pins explore dither fill reasons"
    assert list(steps["home"]) == ["cold_items", "filters", "eligibility", "no_repeat", *between.split()]
    assert list(steps["email"])[1] == "filters"
    assert "pins" not in steps["email"]
    rows = 60 * 20
    for counts in steps["home"].values():
        assert counts["rows_in"] == rows
        rows += counts["added"] - counts["removed"]
    assert rows == done.rows["lists/home"]
    assert all(steps["home"][name]["moved"] > 0 for name in ("boosts", "mmr", "caps_and_clusters", "pins", "dither"))
    assert steps["home"]["explore"]["added"] > 0
    assert done.metrics["home/rule exclude no alcohol/items"] == 10
    assert done.metrics["home/filters/removed"] == steps["home"]["filters"]["removed"] > 0


def test_propensities_are_stored_with_the_lists(made: tuple[Settings, Inputs, Manifest]) -> None:
    _, inputs, done = made
    logged = lists_of(done, "home").select(USER, ITEM, PROPENSITY).explode(ITEM, PROPENSITY)
    found = logged.with_columns(pl.int_range(1, pl.len() + 1).over(USER).alias("place")).drop_nulls(PROPENSITY)
    assert set(found["place"]) == {5, 8}
    # Eight items are young, two of them alcohol, which no list shows.
    assert {int(one[1:]) for one in found[ITEM]} <= {32, 34, 35, 36, 38, 39}
    assert found[PROPENSITY].unique().to_list() == pytest.approx([0.2 / 6])
    assert PROPENSITY not in lists_of(done, "email").columns
    assert done.metrics["home/from explored"] == found.height > 0
    assert inputs.ds.isoformat() == "2026-03-31"


def test_the_gate_knows_the_rules(made: tuple[Settings, Inputs, Manifest], tmp_path: Path) -> None:
    settings, inputs, done = made
    tonight = Inputs(inputs.ds, inputs.cutoffs, {"extract": inputs["extract"], "compose": done})
    items = judged_items(inputs["extract"], settings)
    sections = settings.view(("evaluate", *SECTIONS))
    _, checks = evaluate.gated(tonight, sections, items, output(tmp_path, "evaluate", tonight))
    assert [check.name for check in checks if not check.passed and check.severity == "refuse"] == []
    rules = pl.read_parquet(done.uri("rules", "home.parquet"))
    assert rules.filter(~pl.col(columns.ELIGIBLE)).height == 10
    assert rules.filter(columns.RULED).height == 20


def test_the_gate_counts_what_rules_keep_out_and_repeats_that_no_rule_decides(
    made: tuple[Settings, Inputs, Manifest],
) -> None:
    settings, inputs, done = made
    items = judged_items(inputs["extract"], settings)
    rules = evaluate.surface_rules(done, settings, items)["home"]
    lists = pl.read_parquet(done.parts("lists", "home")[0].uri)
    users = pl.read_parquet(inputs["extract"].parts("users")[0].uri)
    row, tool, food = buyer_of_both(inputs, users)

    def faults(item: str) -> tuple[int, int]:
        spoilt = [*lists[ITEM][row].to_list()[:-1], item]
        seen = gate.inspect(
            lists[row : row + 1].with_columns(pl.Series(ITEM, [spoilt])), users[row : row + 1], items, rules
        )
        return seen.faults["nothing ineligible"], seen.faults["no repeats"]

    assert faults("i0001") == (1, 0)
    assert faults(tool) == (0, 1)
    assert faults(food) == (0, 0)


def buyer_of_both(inputs: Inputs, users: pl.DataFrame) -> tuple[int, str, str]:
    """The first of `users` who bought a tool and food: their row, and one item of each."""
    items = pl.read_parquet(inputs["extract"].uri("items.parquet"))
    kinds = dict(items.select(columns.ITEM_INDEX, columns.CATEGORY).rows())
    names = dict(items.select(columns.ITEM_INDEX, ITEM).rows())
    for row, (had, types) in enumerate(users.select(columns.PAIR_ITEM, columns.PAIR_TYPE).rows()):
        bought = {kinds[item].split("/")[0]: names[item] for item, kind in zip(had, types, strict=True) if kind == 2}
        if {"tools", "food"} <= set(bought):
            return row, bought["tools"], bought["food"]
    raise AssertionError("nobody bought both")


def test_blocks_and_shards_make_no_difference(made: tuple[Settings, Inputs, Manifest], tmp_path: Path) -> None:
    settings, inputs, done = made
    blocks = settings.model_copy(update={"compose": settings.compose.model_copy(update={"block_users": 7})})
    assert lists_of(run(tmp_path, blocks, inputs), "home").equals(lists_of(done, "home"))


@pytest.mark.parametrize(
    ("rule", "error", "said"),
    [
        (
            'exclude = [{ where = { brnd = "Acme" } }]',
            SettingsError,
            r"rules\.exclude 1 names 'brnd'.*Did you mean 'brand'",
        ),
        ('exclude = [{ where = { brand = "Acne" } }]', SettingsError, r"no item has brand 'Acne'.*Known: Acme, Bolt"),
        ("include = [{ where = { price = { min = 90 } } }]", GiveUpError, r"may be shown on surface 'home'"),
    ],
)
def test_what_is_wrong_is_refused_at_the_start(tmp_path: Path, rule: str, error: type[Exception], said: str) -> None:
    settings, inputs = shop(tmp_path, f"[compose.surfaces.home.rules]\n{rule}\n")
    with pytest.raises(error, match=said):
        stage.run(inputs, settings.view(SECTIONS), output(tmp_path, "compose", inputs))


def test_what_may_be_unknown_and_matches_nothing_is_noted(tmp_path: Path) -> None:
    toml = '[compose]\nunknown_values = "warn"\n[[compose.rules.exclude]]\nwhere = { brand = "Zeta" }\n'
    settings, inputs = shop(tmp_path, toml)
    (note,) = stage.require_names(inputs, settings)
    assert "compose.rules.exclude 1: no item has brand 'Zeta'" in note
    books = stage.loading_of(inputs, settings, str(tmp_path)).books()
    assert summary.rule_notes(books) == ["home: rule exclude 1 matches no item"]
