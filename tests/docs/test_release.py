"""What the pages say of releases: versions that were run, and installs that can't be hijacked."""

import re

import pytest

from tests.docs.pages import ROOT

DOCUMENTS = sorted(
    str(path.relative_to(ROOT))
    for pattern in ("*.md", "docs/*.md", "deploy/**/*.md", "tests/**/*.md", ".github/**/*.md")
    for path in ROOT.glob(pattern)
)

# A requirement by the bare name, with extras or a version: what an index would be asked for.
_BY_NAME = re.compile(r"^['\"]?teeplugin(?:\[[^]]*\])?(?:\s*[=<>~!].*)?['\"]?$", re.IGNORECASE)
# A package whose own requirement is the plugin: pip looks for that as well.
_BACKEND = re.compile(r"\bacme[_-]tee\b.*\.whl\b")
_INSTALLERS = re.compile(
    r"\b(?:pip[\d.]*\s+(?:install|download|wheel)|pipx\s+(?:install|run)"
    r"|uv\s+(?:add|pip\s+install|tool\s+(?:install|run))|uvx|poetry\s+add)\b(?P<words>[^`\n|;&]*)"
)


def fetched_by_name(text: str) -> list[str]:
    """The install lines that ask an index for this package by its name."""
    lines = text.replace("\\\n", " ")
    return [
        found[0]
        for found in _INSTALLERS.finditer(lines)
        if any(_BY_NAME.match(word.rstrip(".,:)")) for word in found["words"].split())
    ]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_no_page_installs_the_plugin_from_an_index_by_its_name(document: str) -> None:
    """Nobody owns the name there: the one who takes it would run code on the reader's machine."""
    found = fetched_by_name((ROOT / document).read_text(encoding="utf-8"))
    assert found == [], (
        "name a file of the release: pip install ./teeplugin-VERSION-py3-none-any.whl"
    )


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_backend_is_installed_together_with_the_plugins_file(document: str) -> None:
    """Its requirement `teeplugin` would be looked for in the index otherwise."""
    text = (ROOT / document).read_text(encoding="utf-8").replace("\\\n", " ")
    commands = [found["words"] for found in _INSTALLERS.finditer(text)]
    backends = [words for words in commands if _BACKEND.search(words)]
    # Where the plugin is installed already, nothing needs to be looked for.
    asking = [words for words in backends if "--no-deps" not in words]
    assert [words for words in asking if "./teeplugin-" not in words] == []


@pytest.mark.parametrize(
    "line",
    [
        "pip install teeplugin",
        "python -m pip install --upgrade 'teeplugin[simulate]'",
        "pip3 install acme \\\n  teeplugin==0.1.0",
        "see `pip install teeplugin`.",
        "uv add teeplugin>=0.1",
        "pipx install teeplugin",
    ],
)
def test_a_line_that_asks_an_index_is_recognised(line: str) -> None:
    assert fetched_by_name(line)


@pytest.mark.parametrize(
    "line",
    [
        "pip install ./teeplugin-0.1.0-py3-none-any.whl",
        "pip install './teeplugin-0.1.0-py3-none-any.whl[simulate]'",
        "pip install --editable '.[simulate]'",
        "pip install dist/acme_tee-0.1.0-py3-none-any.whl",
    ],
)
def test_a_line_that_names_a_file_is_none_of_these(line: str) -> None:
    assert fetched_by_name(line) == []


@pytest.mark.parametrize("page", ["docs/compatibility.md", "docs/measured.md"])
def test_the_kubernetes_that_is_named_is_the_one_that_is_run(page: str) -> None:
    modules = (ROOT / "tests" / "cluster" / "kubernetes" / "go.mod").read_text(encoding="utf-8")
    run = re.findall(r"k8s\.io/kubernetes v([\d.]+)", modules)
    named = re.findall(r"\b1\.\d+\.\d+\b", (ROOT / page).read_text(encoding="utf-8"))
    kubernetes = {
        version for version in named if version.startswith(f"{run[0].rpartition('.')[0]}.")
    }
    assert kubernetes == set(run)
