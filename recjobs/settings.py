"""One TOML file per dataset, typed; every value can be overridden by environment and by run.

Precedence: a run's own overrides (`--set retrieve.train.epochs=3`, DAG params), then environment
(`RECJOBS__RETRIEVE__TRAIN__EPOCHS=3`), then the file, then the defaults. Relative paths are taken
from `RECJOBS_HOME`, else from the checkout that holds this package, else from the current folder.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from pydantic import Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from recjobs import storage
from recjobs.compose.config import ComposeConfig
from recjobs.errors import SettingsError
from recjobs.evaluate.config import EvaluateConfig
from recjobs.extract.config import ExtractConfig
from recjobs.pipeline import BeamConfig
from recjobs.publish.config import DatabaseConfig, PublishConfig
from recjobs.rank.config import RankConfig
from recjobs.retrieve.config import RetrieveConfig
from recjobs.setting_faults import given_by, nearest, told
from recjobs.sources.config import EventsSource, ItemsSource, TimeConfig, UsersSource
from recjobs.sources.marketplace.config import MarketplaceConfig

ENVIRONMENT_PREFIX = "RECJOBS__"
SHIPPED = Path(__file__).parent / "configs"
_CONFIG_FILE = "config_file"
NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,62}$"


def home() -> Path:
    """The folder that relative paths in settings start from."""
    if configured := os.environ.get("RECJOBS_HOME"):
        return Path(configured).resolve()
    checkout = Path(__file__).resolve().parent.parent
    return checkout if (checkout / "pyproject.toml").is_file() else Path.cwd()


def resolve(uri: str) -> str:
    """`uri` as an absolute path below `home()`, or unchanged when it is in a bucket."""
    return uri if storage.is_remote(uri) else str(home() / Path(uri).expanduser())


class Settings(BaseSettings):
    """Everything one dataset's job is told."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_prefix=ENVIRONMENT_PREFIX,
        env_nested_delimiter="__",
        use_attribute_docstrings=True,
        validate_default=True,
    )

    dataset: str = Field(pattern=NAME_PATTERN)
    """The dataset's name, a folder below `root`."""
    root: str = "work/artefacts"
    """Folder or `gs://bucket/prefix` that all artefacts are written below."""
    seed: int = 17
    """Where all randomness comes from."""
    time: TimeConfig = TimeConfig()
    events: EventsSource
    items: ItemsSource | None = None
    users: UsersSource | None = None
    beam: BeamConfig = BeamConfig()
    extract: ExtractConfig = ExtractConfig()
    retrieve: RetrieveConfig = RetrieveConfig()
    rank: RankConfig = RankConfig()
    compose: ComposeConfig = ComposeConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    publish: PublishConfig = PublishConfig()
    database: DatabaseConfig = DatabaseConfig()
    marketplace: MarketplaceConfig | None = None
    """The generated marketplace, where the input is one."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """A run's overrides before environment before the file."""
        file = cast(InitSettingsSource, init_settings).init_kwargs.pop(_CONFIG_FILE)
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, file)

    @property
    def artefacts(self) -> str:
        """The folder of this dataset's artefacts, absolute."""
        return storage.join(resolve(self.root), self.dataset)

    def tasks(self) -> tuple[str, ...]:
        """The ranker's tasks, in the order their first event type stands in settings."""
        return tuple(dict.fromkeys(kind.task for kind in self.events.types.values()))

    def event_codes(self) -> dict[str, int]:
        """The code of each event type: its position in settings, from 1."""
        return {name: code for code, name in enumerate(self.events.types, start=1)}

    def view(self, sections: Sequence[str]) -> Settings:
        """These settings with only `sections` set: reading another raises AttributeError.

        `retrieve.train` is that part of the section `retrieve` alone.
        A stage's recipe is the digest of the sections it declares, so it must see no others.
        """
        return cast(Settings, _View(self, tuple(sections)))

    def recipe(self, sections: Sequence[str], without: Mapping[str, Any]) -> dict[str, Any]:
        """The values of `sections`, as `view` shows them, and of what every stage may read; JSON, `without` some."""
        values = ("dataset", "seed", "events")
        return self.model_dump(mode="json", include=_tree((*values, *sections)), exclude=dict(without))


def _tree(sections: Sequence[str]) -> dict[str, Any]:
    """Dotted names as pydantic's `include`: {"retrieve": {"train": True}}; a whole section holds its parts."""
    tree: dict[str, Any] = {}
    for dotted in sections:
        if any(dotted.startswith(f"{whole}.") for whole in sections):
            continue
        *path, last = dotted.split(".")
        level = tree
        for part in path:
            level = level.setdefault(part, {})
        level[last] = True
    return tree


class _View:
    """What `Settings.view` gives: the settings, or a section of which some parts alone are declared."""

    _ALWAYS = ("dataset", "seed", "events", "tasks", "event_codes")

    def __init__(self, settings: Any, sections: tuple[str, ...], place: str = "") -> None:
        self._settings = settings
        self._sections = sections
        self._place = place

    def __getattr__(self, name: str) -> Any:
        dotted = f"{self._place}{name}"
        if dotted in self._ALWAYS or dotted in self._sections:
            return getattr(self._settings, name)
        if any(section.startswith(f"{dotted}.") for section in self._sections):
            return _View(getattr(self._settings, name), self._sections, f"{dotted}.")
        raise AttributeError(
            f"this stage does not declare the settings section {dotted!r}; add it to the stage's "
            "entry in recjobs/flow.py so that its recipe changes with it"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return (_View, (self._settings, self._sections, self._place))


def config_path(name: str) -> Path:
    """The file that `name` means: a path, or the name of a shipped config.

    Raises:
        SettingsError: there is no such file.
    """
    for candidate in (Path(name), home() / name, SHIPPED / f"{name}.toml"):
        if candidate.is_file():
            return candidate.resolve()
    shipped = sorted(path.stem for path in SHIPPED.glob("*.toml"))
    raise SettingsError(f"config {name!r}: no such file. Give a path, or one of {shipped}.", config=name)


def load_settings(config: str, overrides: Mapping[str, Any] | None = None) -> Settings:
    """The settings of `config` (a path or a shipped name) with dotted `overrides` on top.

    Raises:
        SettingsError: a key is unknown (the message names the nearest right one), missing, or its
            value is out of range; the file is no TOML.
    """
    path = config_path(config)
    _check_environment()
    try:
        return Settings(**{_CONFIG_FILE: path, **_nested(overrides or {})})
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: no valid TOML: {error}.", config=str(path)) from error
    except ValidationError as error:
        given = given_by(overrides or {}, _environment(), tomllib.loads(path.read_text()), str(path))
        raise SettingsError(told(error.errors(), Settings, given, str(path)), config=str(path)) from error


def settings_from_dump(dump: Mapping[str, Any]) -> Settings:
    """The settings that `dump` (every value of a `model_dump`) describes, whatever file or environment say now.

    Raises:
        SettingsError: they are none of this version.
    """
    try:
        return Settings(**{_CONFIG_FILE: None, **dump})
    except ValidationError as error:
        raise SettingsError(
            told(error.errors(), Settings, [], "stored settings, of another version; plan the date again")
        ) from error


def parse_overrides(pairs: Sequence[str]) -> dict[str, Any]:
    """`["a.b=1", …]` as {"a.b": 1, …}; values are JSON, or text where they are no JSON.

    Raises:
        SettingsError: a pair has no `=`.
    """
    parsed: dict[str, Any] = {}
    for pair in pairs:
        key, found, value = pair.partition("=")
        if not found:
            raise SettingsError(f"override {pair!r}: write it as section.key=value.", override=pair)
        try:
            parsed[key.strip()] = json.loads(value)
        except json.JSONDecodeError:
            parsed[key.strip()] = value
    return parsed


def _nested(overrides: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for dotted, value in overrides.items():
        *path, last = dotted.split(".")
        level = nested
        for part in path:
            level = level.setdefault(part, {})
        level[last] = value
    return nested


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(ENVIRONMENT_PREFIX)}


def _check_environment() -> None:
    """pydantic-settings passes over a variable whose first part it doesn't know; a typo must fail."""
    for variable in _environment():
        section = variable.removeprefix(ENVIRONMENT_PREFIX).split("__")[0].lower()
        if section not in Settings.model_fields:
            raise SettingsError(
                f"environment variable {variable}: unknown setting {section!r}."
                f"{nearest(section, Settings.model_fields)}",
                variable=variable,
            )
