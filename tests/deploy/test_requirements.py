"""The pins: every dependency of the plugin, in a version that it takes, with hashes."""

import re
import tomllib

from packaging.requirements import Requirement
from packaging.version import Version

from tests.deploy.files import DEPLOY, ROOT

PINS = dict(
    re.findall(
        r"^([\w-]+)==(\S+)(?: ; .*?)? \\$",
        (DEPLOY / "docker" / "requirements.txt").read_text(),
        re.MULTILINE,
    )
)
IN_THE_IMAGE = "dra"
"""The extra that settings of the image can ask for."""

AGAIN = "run nox -s requirements"


def test_every_dependency_is_pinned_to_a_version_that_the_plugin_takes() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extra = project["optional-dependencies"][IN_THE_IMAGE]
    for requirement in map(Requirement, [*project["dependencies"], *extra]):
        assert requirement.name in PINS, AGAIN
        assert Version(PINS[requirement.name]) in requirement.specifier, AGAIN


def test_what_another_extra_needs_is_in_no_image() -> None:
    text = (DEPLOY / "docker" / "requirements.txt").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    optional = project["optional-dependencies"]
    extras = [one for name, extra in optional.items() if name != IN_THE_IMAGE for one in extra]
    assert extras
    for requirement in map(Requirement, extras):
        assert requirement.name not in PINS, AGAIN
        assert f"# via {requirement.name}\n" not in text, AGAIN  # nor its own dependencies


def test_every_pin_has_hashes() -> None:
    text = (DEPLOY / "docker" / "requirements.txt").read_text()
    blocks = re.split(r"^(?=\S)", text, flags=re.MULTILINE)
    pinned = [block for block in blocks if "==" in block.partition("\n")[0]]
    assert len(pinned) == len(PINS)
    assert all("--hash=sha256:" in block for block in pinned)


def test_no_address_of_an_index_stands_beside_the_pins() -> None:
    assert "://" not in (DEPLOY / "docker" / "requirements.txt").read_text()
