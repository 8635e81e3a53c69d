"""Settings: typed, typos refused with the nearest right name, overridable by environment and run."""

from __future__ import annotations

import pickle
from operator import attrgetter
from pathlib import Path

import pytest

from recjobs.errors import SettingsError
from recjobs.flow import STAGES
from recjobs.settings import SHIPPED, Settings, load_settings, parse_overrides, settings_from_dump

MINIMAL = """
dataset = "shop"
[events]
path = "events"
[events.types.view]
task = "click"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "shop.toml"
    path.write_text(MINIMAL)
    return path


@pytest.mark.parametrize(
    ("addition", "message"),
    [
        ("[retrieve.train]\nepocs = 3", r"retrieve\.train\.epocs: unknown key\. Did you mean 'epochs'\?"),
        (
            "[events.types.buy]\ntask='b'\nweigth = 3",
            r"events\.types\.buy\.weigth: unknown key\. Did you mean 'weight'\?",
        ),
        ("[retreive]\nx = 1", r"retreive: unknown key\. Did you mean 'retrieve'\?"),
        ("[retrieve.train]\nepochs = 0", r"retrieve\.train\.epochs: .*greater than or equal to 1, got 0"),
        ("[compose.surfaces.home]\nlenght = 3", r"surfaces\.home\.lenght: unknown key\. Did you mean 'length'\?"),
        ("[time", r"no valid TOML"),
    ],
)
def test_a_fault_names_the_place_and_the_right_name(config: Path, addition: str, message: str) -> None:
    config.write_text(MINIMAL + addition)
    with pytest.raises(SettingsError, match=message) as caught:
        load_settings(str(config))
    assert str(config) in str(caught.value)


def test_a_missing_key_is_named(config: Path) -> None:
    config.write_text('dataset = "shop"\n')
    with pytest.raises(SettingsError, match="events: Field required"):
        load_settings(str(config))


def test_an_unknown_config_names_the_shipped_ones() -> None:
    with pytest.raises(SettingsError, match=r"no such file\. Give a path, or one of .*'marketplace'"):
        load_settings("marketplce")


def test_run_beats_environment_beats_file(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text(MINIMAL + "[retrieve.train]\nepochs = 3\nbatch_size = 32\n")
    assert load_settings(str(config)).retrieve.train.epochs == 3
    monkeypatch.setenv("RECJOBS__RETRIEVE__TRAIN__EPOCHS", "4")
    assert load_settings(str(config)).retrieve.train.epochs == 4
    loaded = load_settings(str(config), parse_overrides(["retrieve.train.epochs=5", "retrieve.train.encoder=gru"]))
    assert (loaded.retrieve.train.epochs, loaded.retrieve.train.encoder) == (5, "gru")
    assert loaded.retrieve.train.batch_size == 32


def test_an_unknown_environment_variable_is_refused(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECJOBS__RETREIVE__TRAIN__EPOCHS", "4")
    with pytest.raises(SettingsError, match=r"RECJOBS__RETREIVE__TRAIN__EPOCHS.*Did you mean 'retrieve'"):
        load_settings(str(config))


def test_an_override_without_value_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"'epochs': write it as section\.key=value"):
        parse_overrides(["epochs"])


def test_a_fault_is_told_under_what_brought_it(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text(MINIMAL + "[rank]\nepocs = 3\n")
    monkeypatch.setenv("RECJOBS__PUBLISH__KEEP_GENERATIONS", "1")
    overrides = {"retrieve.train.epochs": 0, "seed.x": 1, "database.urll": "postgresql://app:sesame@db/app"}
    with pytest.raises(SettingsError) as caught:
        load_settings(str(config), overrides)
    said = str(caught.value)
    for source, fault in (
        ("override retrieve.train.epochs", "retrieve.train.epochs: Input should be greater than or equal to 1, got 0."),
        ("override seed.x", "seed: Input should be a valid integer, got {'x': 1}."),
        ("override database.urll", "database.urll: unknown key. Did you mean 'url'?"),
        ("environment variable RECJOBS__PUBLISH__KEEP_GENERATIONS", "publish.keep_generations: Input should be "),
        (str(config), "rank.epocs: unknown key."),
    ):
        assert f"{source}:\n  {fault}" in said
    assert "sesame" not in said


def test_a_fault_of_an_override_does_not_blame_the_file(config: Path) -> None:
    with pytest.raises(SettingsError, match=r"^override retrieve\.train\.epocs:\n  .*Did you mean 'epochs'") as caught:
        load_settings(str(config), {"retrieve.train.epocs": 3})
    assert str(config) not in str(caught.value)


@pytest.mark.parametrize(
    ("file", "overrides", "said"),
    [
        # The section is nobody's but the override's.
        ("", {"nosuch.key": 1}, "override nosuch.key:\n  nosuch: unknown key. Known here: beam, "),
        (
            "",
            {"retreive.train.epochs": 1},
            "override retreive.train.epochs:\n  retreive: unknown key. Did you mean 'retrieve'?",
        ),
        ("[nosuch]\nx = 1", {"nosuch.key": 1}, "override nosuch.key and {config}:\n  nosuch: unknown key."),
        (
            "",
            {"items.path2": "i"},
            "override items.path2:\n  items.path: Field required. Set it, in the file under [items].",
        ),
        (
            "[compose.surfaces.mail]\nlenght = 3",
            {"compose.surfaces": {"home": {"length": 5}}},
            "{config}:\n  compose.surfaces.mail.lenght: ",
        ),
        (
            "",
            {"compose.surfaces": {"home": {"lenght": 5}}},
            "override compose.surfaces:\n  compose.surfaces.home.lenght: unknown key.",
        ),
        # A fault of several values together: of those that the message names.
        (
            "[retrieve.train]\nheads = 3",
            {"retrieve.train.epochs": 2},
            "{config}:\n  retrieve.train: embedding_size 64 is not divisible by heads 3.",
        ),
        (
            "[retrieve.train]\nepochs = 3",
            {"retrieve.train.heads": 5},
            "override retrieve.train.heads:\n  retrieve.train: embedding_size 64",
        ),
    ],
)
def test_a_fault_is_laid_at_the_door_of_who_brought_it(
    config: Path, file: str, overrides: dict[str, object], said: str
) -> None:
    config.write_text(MINIMAL + file)
    with pytest.raises(SettingsError) as caught:
        load_settings(str(config), overrides)
    assert said.replace("{config}", str(config)) in str(caught.value)


def test_a_fault_of_a_section_of_the_environment_is_laid_at_its_door(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECJOBS__RETRIEVE", '{"train": {"heads": 3, "epocs": 1}}')
    with pytest.raises(SettingsError) as caught:
        load_settings(str(config))
    said = str(caught.value)
    assert said.startswith("environment variable RECJOBS__RETRIEVE:\n  retrieve.train.epocs: unknown key.")
    assert str(config) not in said


def test_only_the_offending_value_is_shown_with_what_it_is_for(config: Path) -> None:
    config.write_text(
        MINIMAL + "[retrieve.train]\nheads = 3\nlist_device = 'app'\n[extract]\n" + f"history_length = '{'9' * 300}x'"
    )
    with pytest.raises(SettingsError) as caught:
        load_settings(str(config), {"retrieve.search.candidates": 0, "database.url.x": "sesame"})
    lines = str(caught.value).splitlines()
    assert (
        "  retrieve.search.candidates: Input should be greater than or equal to 1, got 0. Candidates per user"
        in str(caught.value)
    )
    assert "  retrieve.train: list_device 'app' is read only where context has \"device\"." in lines
    assert "sesame" not in str(caught.value)
    assert max(map(len, lines)) < 320
    assert "{" not in str(caught.value), "no section as a whole"


def test_settings_stored_by_another_version_are_an_error_of_ours(config: Path) -> None:
    dump = load_settings(str(config)).model_dump(mode="json")
    with pytest.raises(SettingsError, match=r"of another version; plan the date again:\n  rank\.old: unknown key"):
        settings_from_dump({**dump, "rank": {"old": 1}})


def test_a_dump_gives_the_same_settings_whatever_the_environment_says(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load_settings(str(config))
    monkeypatch.setenv("RECJOBS__RETRIEVE__TRAIN__EPOCHS", "99")
    assert settings_from_dump(settings.model_dump(mode="json")) == settings


def test_a_view_shows_only_what_the_stage_declares(config: Path) -> None:
    view = load_settings(str(config)).view(["retrieve"])
    assert pickle.loads(pickle.dumps(view)).retrieve.train.epochs == view.retrieve.train.epochs
    with pytest.raises(AttributeError, match=r"'compose'.*recjobs/flow\.py"):
        _ = view.compose


def test_a_view_of_a_part_of_a_section_hides_the_rest_of_it(config: Path) -> None:
    settings = load_settings(str(config))
    view = pickle.loads(pickle.dumps(settings.view(["retrieve.train", "beam"])))
    assert view.retrieve.train == settings.retrieve.train
    assert view.beam == settings.beam
    with pytest.raises(AttributeError, match=r"'retrieve\.search'.*recjobs/flow\.py"):
        _ = view.retrieve.search


def test_a_recipe_holds_what_the_view_shows(config: Path) -> None:
    settings = load_settings(str(config))
    part = settings.recipe(["retrieve.train", "beam"], {"beam": {"options"}})
    assert set(part) == {"dataset", "seed", "events", "retrieve", "beam"}
    assert part["retrieve"] == {"train": settings.retrieve.train.model_dump(mode="json")}
    assert part["beam"] == {"runner": "local", "shards": settings.beam.shards}
    assert set(settings.recipe(["retrieve.train", "retrieve"], {})["retrieve"]) == {"train", "search"}


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_declares_settings_that_there_are(config: Path, stage: str) -> None:
    settings = load_settings(str(config))
    for section in STAGES[stage].sections:
        seen = attrgetter(section)(settings.view(STAGES[stage].sections))
        assert seen == attrgetter(section)(settings), section


def test_a_database_password_is_not_shown(config: Path) -> None:
    config.write_text(MINIMAL + '[database]\nurl = "postgresql://app:sesame@db/app"\n')
    settings = load_settings(str(config))
    assert "sesame" not in repr(settings)
    assert "sesame" not in settings.model_dump_json()


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_configs_load(path: Path) -> None:
    settings = load_settings(path.stem)
    assert isinstance(settings, Settings)
    assert settings.dataset == path.stem
