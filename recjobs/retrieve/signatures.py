"""The names under which a saved tower can be called."""

from __future__ import annotations

DEFAULT = "serving_default"
UNSEEN = "unseen"
"""Of the item tower: the vectors that items would have if none had ever had an event."""
