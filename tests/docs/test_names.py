"""What the guide names exists: metrics, events and their fields, alerts, pages."""

import re
from functools import cache

import pytest

from tests.docs.pages import PAGES, ROOT, blocks, text
from tests.docs.twins import TWINS
from tests.unit.test_docs_events import documented, metric_name, metrics

CODE = ("teeplugin", "teeplugin_backends", "ta")

_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`\n]+)`")
_SNAKE = re.compile(r"[a-z]+(_[a-z]+)+")
_ALERT = re.compile(r"\bTeePlugin[A-Z]\w+")


@cache
def spans(page: str) -> frozenset[str]:
    return frozenset(_SPAN.findall(_FENCED.sub("", text(page))))


@cache
def words_of_the_code() -> frozenset[str]:
    files = [path for folder in CODE for path in (ROOT / folder).rglob("*.py")]
    files += (ROOT / "ca").glob("*.[ch]")
    return frozenset(
        word
        for path in files
        for word in re.findall(r"\w+", f"{path.stem} {path.read_text(encoding='utf-8')}")
    )


@cache
def names_of_tests() -> frozenset[str]:
    """The tests that a page may name, such as those that failed on a version of Kubernetes."""
    files = (ROOT / "tests").rglob("*.py")
    return frozenset(
        name
        for path in files
        for name in re.findall(r"def (test_\w+)", path.read_text(encoding="utf-8"))
    )


@pytest.mark.parametrize("page", PAGES)
def test_every_metric_that_is_named_exists(page: str) -> None:
    named = {span for span in spans(page) if re.fullmatch(r"teeplugin_\w+_\w+", span)}
    assert named - set(map(metric_name, metrics())) == set()


@pytest.mark.parametrize("page", PAGES)
def test_every_other_name_with_underscores_is_one_of_the_code(page: str) -> None:
    named = {span for span in spans(page) if _SNAKE.fullmatch(span)}
    known = words_of_the_code() | names_of_tests()
    assert {name for name in named if not name.startswith("teeplugin_")} - known == set()


@pytest.mark.parametrize("page", PAGES)
def test_the_lines_of_the_log_that_are_shown_have_fields_that_are_logged(page: str) -> None:
    for block in blocks(page):
        for line in re.findall(r"\bevent=.*", block.body):
            fields = re.findall(r'(?:^| )([a-z_]+)=(?:"[^"]*"|\S+)', line)
            event = re.match(r"event=(\w+)", line)
            assert event is not None
            told = documented()[event[1]]
            assert set(fields) - {"event"} <= told.fields, block.name


@pytest.mark.parametrize("page", PAGES)
def test_every_alert_that_is_named_exists(page: str) -> None:
    rules = text("deploy/chart/files/prometheus-rule.yaml")
    there = set(re.findall(r"alert: (\w+)", rules))
    assert set(_ALERT.findall(text(page))) - there == set()


@pytest.mark.parametrize("index", ["docs/README.md", "docs/README.zh-CN.md"])
def test_every_page_is_linked_from_both_indexes(index: str) -> None:
    linked = {f"docs/{link}" for link in re.findall(r"\]\(([^)#]+)", text(index))}
    # A page in both languages is linked in the reader's own.
    pages = {page for page in PAGES if page.startswith("docs/") and page not in TWINS}
    if index in TWINS:
        chinese = {original: page for page, original in TWINS.items()}
        pages = {chinese.get(page, page) for page in pages}
    assert pages - linked - {index} == set()
