"""JSON of every command, checked against the schemas in docs/schemas."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jsonschema
import pytest

from teeplugin.cli.main import COMMANDS
from teeplugin.telemetry.status_page import status_of
from tests.docs.pages import ROOT, text
from tests.plugin_process import plain_environment
from tests.running_parts import running_in_full, running_parts

SCHEMAS = ROOT / "docs" / "schemas"
KINDS = sorted(path.name.removesuffix(".schema.json") for path in SCHEMAS.glob("*.schema.json"))
WITHOUT_FACTS = {"pod", "completion", "cdi"}
"""Commands that print a file for another program, and no facts."""

TA = ROOT / "examples" / "configs.xml"
NOWHERE = "127.0.0.1:1"
SIMULATED = ("--backend", "simulated", "--listen", NOWHERE)
DOCUMENTS: Mapping[str, Sequence[str]] = {
    "status": ("status", "--listen", NOWHERE),
    "doctor": ("doctor", *SIMULATED),
    "doctor of bad settings": ("doctor", "-precision", "1"),
    "identity": ("identity",),
    "identity of a TEE that asks nobody": ("identity", "--backend", "simulated"),
    "size": ("size", str(TA)),
    "simulate": ("simulate",),
    "simulate that fails": ("simulate", "--plugin", "false"),
    "version": ("version",),
}


def checked(document: Mapping[str, Any]) -> None:
    """Check a document against the schema of its kind."""
    schema = json.loads((SCHEMAS / f"{document['kind']}.schema.json").read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(
        schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    )
    validator.validate(document)


def keys(value: object) -> Iterator[str]:
    """All keys, however deep, but for those that are names of something."""
    if isinstance(value, dict):
        for key, within in value.items():
            yield key
            if key not in ("settings", "settings_waiting", "tee_versions", "counts", "events"):
                yield from keys(within)
    elif isinstance(value, list):
        for within in value:
            yield from keys(within)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("words", DOCUMENTS.values(), ids=DOCUMENTS)
def test_a_command_prints_what_its_schema_says(words: Sequence[str]) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "teeplugin", *words, "--format", "json"],
        env=plain_environment(),
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    document = json.loads(ended.stdout)
    checked(document)
    assert document["kind"] == words[0]
    assert all(re.fullmatch("[a-z0-9_]+", key) for key in keys(document))


def test_the_page_status_is_what_its_schema_says() -> None:
    checked(status_of(running_parts()))
    full = status_of(running_in_full())
    assert full["tee"]["last_reading"]
    assert full["cause"]
    assert full["holders"]
    checked(full)


@pytest.mark.parametrize("kind", KINDS)
def test_a_schema_is_one_and_is_named_in_the_page(kind: str) -> None:
    schema = json.loads(text(f"docs/schemas/{kind}.schema.json"))
    jsonschema.Draft202012Validator.check_schema(schema)
    assert f"[{kind}.schema.json]({kind}.schema.json)" in text("docs/schemas/README.md")


def test_every_command_with_facts_has_a_schema() -> None:
    assert {*COMMANDS, "version"} - WITHOUT_FACTS == {*KINDS}
