"""docs/sizing.md: its example prints what it shows."""

import re
from pathlib import Path

import pytest

from tests.unit.commands.sizing_files import DATA, data, pod, size

DOCUMENT = Path(__file__).parents[3] / "docs" / "sizing.md"
EXAMPLE = DATA / "ten_mib.xml"
PLUGIN = DATA / "plugin.txt"
IMAGE = ("--image", "registry.example/ca:1")
RESOURCE = "huawei.com/tee-ram"
pytestmark = pytest.mark.usefixtures("no_settings")


# The document


def _blocks(language: str) -> list[str]:
    text = DOCUMENT.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_the_documents_example_prints_what_it_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(DOCUMENT.parents[1])
    printed, manifest = _blocks("text")
    assert printed == size("examples/configs.xml")
    assert manifest == Path("examples/manifest.txt").read_text("utf-8")
    (shown,) = _blocks("yaml")
    printed = pod(*IMAGE, "examples/configs.xml")
    assert re.sub(r"pod [0-9][^,]*,", "pod VERSION,", printed) == re.sub(
        r"pod [0-9.]+,", "pod VERSION,", shown
    )


def test_the_document_names_every_key_of_the_json_output() -> None:
    named = set(re.findall(r"`([a-z_]+)`", DOCUMENT.read_text(encoding="utf-8")))
    found = data(EXAMPLE)
    keys = {*found, *found["parts"], *found["certainty"], *found["tas"][0]}
    keys |= {*found["tas"][0]["parts"][0], *found["precisions"][0]}
    assert keys - named == set()
