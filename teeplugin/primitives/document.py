"""What all JSON of the plugin has in common: its head, and how times are written.

docs/schemas/ has a schema for each kind of document.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from teeplugin import __version__

SCHEMA_VERSION = 1
"""Of all documents: another number where a reader of this one would have to change."""


def document(kind: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Give facts the head that says what they are; bytes, seconds and counts are numbers."""
    return {
        "kind": kind,
        "version": SCHEMA_VERSION,
        "plugin_version": __version__,
        **facts,
    }


def rfc3339(seconds: float) -> str:
    """Write a time.time() as RFC 3339 does, in UTC and whole seconds."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
