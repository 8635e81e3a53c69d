"""`recjobs doctor` reads rules against the newest items."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from recjobs.cli.rules import rules_finding
from recjobs.errors import MissingInputError, SettingsError
from recjobs.settings import Settings, load_settings

CONFIG = """
dataset = "shop"
root = "{root}/artefacts"

[events]
path = "{root}/events"
[events.types.view]
task = "click"

[items]
path = "{root}/items"
categorical = ["colour"]
numeric = ["stock"]
static = ["brand"]
"""


def shop(folder: Path, rules: str, day: str = "date=2026-03-30/") -> Settings:
    """A shop with one day of events and two items, the first of another name on the day before."""
    for name, brands in (("date=2026-03-29/", ["Acne", "Bolt"]), (day, ["Acme", "Bolt"])):
        if day or name != "date=2026-03-29/":
            _write(folder / "items" / name / "part.parquet", _items(brands))
    moment = [datetime(2026, 3, 30, 12, tzinfo=UTC)]
    events = {"user_id": ["u"], "item_id": ["i1"], "event_type": ["view"], "timestamp": moment}
    _write(folder / "events" / "date=2026-03-30" / "part.parquet", pl.DataFrame(events))
    path = folder / "shop.toml"
    path.write_text(CONFIG.format(root=folder) + rules)
    return load_settings(str(path))


def _items(brands: list[str]) -> pl.DataFrame:
    return pl.DataFrame(
        {"item_id": ["i1", "i2"], "brand": brands, "colour": ["red", "blue"], "stock": [3.0, 0.0], "price": [1.0, 2.0]}
    )


def _write(path: Path, frame: pl.DataFrame) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.write_parquet(path)


def exclude(where: str) -> str:
    return f"[[compose.rules.exclude]]\nwhere = {{ {where} }}\n"


def test_rules_that_name_what_is_there_pass(tmp_path: Path) -> None:
    rules = exclude('brand = "Acme", colour = ["red"], stock = { max = 3 }, age_days = { min = 1 }, n_events = 3')
    pin = '[[compose.surfaces.home.rules.pin]]\nitem = "i2"\nplace = 1\n'
    assert rules_finding(shop(tmp_path, rules + pin)) == "2, all columns known"
    assert rules_finding(shop(tmp_path, "")) == "none"


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ('color = "red"', r"exclude 1 names 'color', which is no column.*'colour'.*Did you mean 'colour'"),
        ('brand = "Acne"', r"no item has brand 'Acne'\. Did you mean 'Acme'\? Known: Acme, Bolt"),
        ('stock = "none"', r"'stock' can't be 'none': it holds a number"),
    ],
)
def test_what_is_not_there_is_named(tmp_path: Path, where: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        rules_finding(shop(tmp_path, exclude(where)))


def test_an_undated_snapshot_has_static_columns_alone(tmp_path: Path) -> None:
    assert rules_finding(shop(tmp_path, exclude('brand = "Acme"'), day="")) == "1, all columns known"
    with pytest.raises(SettingsError, match=r"no item has colour 'red'\. Known: none"):
        rules_finding(shop(tmp_path, exclude('colour = "red"'), day=""))


def test_rules_without_items_say_so(tmp_path: Path) -> None:
    settings = shop(tmp_path, exclude("price = 3"))
    with pytest.raises(MissingInputError, match="rules ask for items, and there is no snapshot"):
        rules_finding(settings.model_copy(update={"items": None}))
