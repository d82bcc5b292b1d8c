"""What the guide shows besides commands: settings, manifests and lines of the log are true ones."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # ships no types
import pytest
import yaml

from teeplugin.config.settings import SETTINGS, Settings
from teeplugin.config.sources import FlagValue, load
from teeplugin.policy.units import capacity_bytes, units_in
from teeplugin.tee.entry_points import load_backend
from tests.docs.pages import PAGES, Block, blocks

VERSIONS = ("1.25", "1.37")
NOT_KUBERNETES_OWN = {"Kustomization", "Component", "KubeletConfiguration"}

_CAPACITY = re.compile(r"event=capacity .*")


def yaml_blocks() -> list[Block]:
    return [block for page in PAGES for block in blocks(page) if block.language == "yaml"]


def contents(block: Block) -> dict[str, Any]:
    (found,) = yaml.safe_load_all(block.body)
    assert isinstance(found, dict), block.name
    return found


def settings_texts(block: Block) -> Iterator[str]:
    """The settings' files that a block is, or has within a ConfigMap's data."""
    found = contents(block)
    if set(found) <= set(SETTINGS):
        yield block.body
    data: Mapping[str, str] = found.get("data", {})
    yield from (text for name, text in data.items() if name == "config.yaml")


def loaded(text: str, directory: Path) -> Settings:
    file = directory / "config.yaml"
    file.write_text(text)
    return load([FlagValue("config", "--config", str(file))], {}).settings


@pytest.mark.parametrize("block", yaml_blocks(), ids=lambda block: block.name)
def test_a_yaml_block_is_what_it_looks_like(block: Block, tmp_path: Path) -> None:
    found = contents(block)
    texts = list(settings_texts(block))
    for text in texts:
        settings = loaded(text, tmp_path)
        load_backend(settings.backend, settings.backend_options)
    if found.get("kind") not in {None, *NOT_KUBERNETES_OWN}:
        for version in VERSIONS:
            assert kubernetes_validate.validate(found, version, strict=True) == version
    # A scenario is played by the command that names its file.
    assert texts or {"kind", "steps"} & set(found), f"{block.name}: neither settings nor an object"
    assert "steps" not in found or block.kind == "file"


def capacity_lines() -> Iterator[tuple[str, dict[str, int]]]:
    for page in PAGES:
        for block in blocks(page):
            for line in _CAPACITY.findall(block.body):
                fields = dict(pair.split("=") for pair in line.split())
                yield block.name, {k: int(v) for k, v in fields.items() if v.isdecimal()}


def test_the_capacity_that_is_shown_is_calculated_as_the_plugin_does() -> None:
    lines = list(capacity_lines())
    assert lines
    for name, shown in lines:
        capacity = capacity_bytes(shown["total_bytes"], shown["reserve_bytes"])
        assert shown["units"] == units_in(capacity, shown["unit_bytes"]), name
        assert shown["free_bytes"] <= shown["total_bytes"], name
