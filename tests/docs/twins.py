"""Pages in English and Chinese: what both must have in common; for test_twins.

A Chinese page ends with the hash of the English text that it translates. After both were changed,
`python -m tests.docs.twins PAGE...` records the English text of these Chinese pages as translated;
without pages it lists those that are out of date.
"""

import hashlib
import re
import sys
from collections import Counter

from tests.docs.pages import ROOT, Block, blocks, text, without_comments

SUFFIX = ".zh-CN.md"
COMMENTED = {"sh", "yaml"}
"""Languages whose comments are translated."""

_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_BLOCK = re.compile(
    r"(?P<file><!-- file: [^\n]* -->\n)?^```(?P<language>[\w-]*)\n.*?^```$",
    re.MULTILINE | re.DOTALL,
)
_GENERATED = re.compile(r"(<!-- generated: [\w-]+ -->\n).*?(<!-- end -->\n)", re.DOTALL)
_COPIED = re.compile(r"(<!-- written by [^\n]* -->\n).*?(<!-- end of what [^\n]* -->\n)", re.DOTALL)
"""What a run of tests writes, in English: a Chinese page has a copy."""
_HASH = re.compile(r"\n<!-- translated from: ([0-9a-f]*) -->\n\Z")
_HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_SPAN = re.compile(r"`([^`\n]+)`")


def english(page: str) -> str:
    """Name the English page that a Chinese one translates."""
    return page.removesuffix(SUFFIX) + ".md"


TWINS = {
    page: english(page)
    for pattern in ("*", "docs/*", "deploy/**/*")
    for page in sorted(str(path.relative_to(ROOT)) for path in ROOT.glob(f"{pattern}{SUFFIX}"))
}
"""The Chinese pages of the checkout, and the English page of each."""


def fingerprint(original: str) -> str:
    """Hash an English page's words, without the parts that programs write."""
    kept = " ".join(_COPIED.sub(r"\1\2", _GENERATED.sub(r"\1\2", original)).split())
    return hashlib.sha256(kept.encode()).hexdigest()[:12]


def recorded(translation: str) -> str:
    """Give the hash that a Chinese page's text ends with, or an empty string."""
    found = _HASH.search(translation)
    return found[1] if found else ""


def renewed(translation: str, original: str) -> str:
    """Give a Chinese page's text with the English text's hash at its end.

    Blocks without comments to translate are copied, such as what a command prints. So are the parts
    that a run of tests writes.
    """
    body = _HASH.sub("\n", with_copies(translation, original)).rstrip("\n")
    copies = [found[0] for found in _BLOCK.finditer(original)]
    if len(copies) == len(_BLOCK.findall(body)):
        rest = iter(copies)

        def copied(found: re.Match[str]) -> str:
            copy = next(rest)
            return found[0] if found["language"] in COMMENTED and not found["file"] else copy

        body = _BLOCK.sub(copied, body)
    return f"{body}\n\n<!-- translated from: {fingerprint(original)} -->\n"


def with_copies(translation: str, original: str) -> str:
    """Give a Chinese page's text with the English page's parts that a run of tests writes."""
    parts = {found[1]: found[0] for found in _COPIED.finditer(original)}
    return _COPIED.sub(lambda found: parts.get(found[1], found[0]), translation)


def prose(body: str) -> str:
    """Remove the fenced blocks."""
    return _FENCED.sub("", body)


def headings(body: str) -> list[int]:
    """Give the level of each heading."""
    return [len(marks) for marks, _ in _HEADING.findall(prose(body))]


def anchors(body: str) -> list[str]:
    """Give the anchor of each heading, as forges make it."""
    plain = (re.sub(r"[^\w\- ]", "", name.lower()) for _, name in _HEADING.findall(prose(body)))
    return [name.replace(" ", "-") for name in plain]


def tables(body: str) -> list[list[int]]:
    """Give the number of cells of each row, table by table."""
    found = re.findall(r"(?:^\|.*\n)+", prose(body) + "\n", re.MULTILINE)
    return [[row.count(" |") for row in table.splitlines()] for table in found]


def code(page: str) -> list[tuple[str, str, str, str]]:
    """Give the fenced blocks, commands and YAML without their comments."""

    def essence(block: Block) -> tuple[str, str, str, str]:
        commented = block.language in COMMENTED
        body = without_comments(block.body) if commented else block.body
        return block.language, block.kind, block.words, body

    return [essence(block) for block in blocks(page)]


def spans(body: str) -> set[str]:
    """Give the names and values in code type."""
    return set(_SPAN.findall(prose(body)))


def links(page: str, body: str) -> Counter[tuple[str, str]]:
    """Count the links by the English page they lead to, and the place of the heading in it.

    A Chinese page has to link to the Chinese twin of a page that has one. The links between twins
    are left out.
    """
    found = (_target(page, link) for link in _LINK.findall(prose(body)))
    return Counter(target for target in found if target is not None)


def _target(page: str, link: str) -> tuple[str, str] | None:
    if "://" in link:
        return link, ""
    path, _, anchor = link.partition("#")
    file = (ROOT / page).parent / path if path else ROOT / page
    name = str(file.resolve().relative_to(ROOT))
    if name in (TWINS.get(page), page.removesuffix(".md") + SUFFIX):
        return None
    if name.endswith(".svg"):
        return name.replace(".zh-CN.", "."), ""
    place = str(anchors(text(name)).index(anchor)) if anchor else ""
    if page not in TWINS:
        return name, place
    has_a_twin = name.removesuffix(".md") + SUFFIX in TWINS
    return (f"{name}: link to its Chinese twin" if has_a_twin else TWINS.get(name, name)), place


def differences(page: str, translation: str, original: str) -> list[str]:
    """Name what a Chinese page's text and the English one don't have in common, one line each."""
    found: list[str] = []
    if (current := with_copies(translation, original)) != translation:
        found.append(f"copied parts are old: run python -m tests.docs.twins {page}")
    translation = current
    if headings(translation) != headings(original):
        found.append(f"headings: {headings(translation)}, not {headings(original)}")
    if tables(translation) != tables(original):
        found.append(f"table rows: {tables(translation)}, not {tables(original)}")
    here, there = links(page, translation), links(english(page), original)
    if here != there:
        found.append(f"links: {dict(here - there)} here, {dict(there - here)} there")
    if spans(translation) != spans(original):
        ours, theirs = spans(translation), spans(original)
        found.append(f"code: {ours - theirs} here, {theirs - ours} there")
    if recorded(translation) != fingerprint(original):
        found.append(
            f"{english(page)} has changed: translate the change, then run "
            f"python -m tests.docs.twins {page}"
        )
    return found


if __name__ == "__main__":
    for each in sys.argv[1:]:
        renewed_text = renewed(text(each), text(english(each)))
        (ROOT / each).write_text(renewed_text, encoding="utf-8")
    for each, its_original in TWINS.items() if sys.argv[1:] == [] else ():
        if recorded(text(each)) != fingerprint(text(its_original)):
            print(f"{each}: out of date")  # a command for people
