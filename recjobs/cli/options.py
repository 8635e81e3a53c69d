"""Options that several commands share."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

import typer

from recjobs.errors import SettingsError
from recjobs.settings import Settings, load_settings, parse_overrides

CONFIG_VARIABLE = "RECJOBS_CONFIG"

Config = Annotated[
    str,
    typer.Option("--config", "-c", envvar=CONFIG_VARIABLE, help="A config file, or the name of a shipped one."),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="SECTION.KEY=VALUE", help="Override one setting; may be repeated."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
Surface = Annotated[str, typer.Option("--surface", help="The place in the app the list is for.")]


def _said(text: str) -> str:
    if not text.strip():
        raise typer.BadParameter("it is empty")
    return text


Why = Annotated[str, typer.Option("--why", help="The reason, kept in the audit.", callback=_said)]

DEFAULT_CONFIG = "marketplace"


def settings_of(config: str, overrides: list[str] | None = None) -> Settings:
    """The settings a command works with."""
    return load_settings(config, overrides_of(overrides))


def overrides_of(overrides: list[str] | None) -> dict[str, Any]:
    """`--set` pairs as dotted keys."""
    return parse_overrides(overrides or [])


def as_date(text: str) -> date:
    """`text` as a date.

    Raises:
        SettingsError: it is none.
    """
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise SettingsError(f"{text!r} is no date: write it as YYYY-MM-DD.", value=text) from error
