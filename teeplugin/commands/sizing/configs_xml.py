"""Reads a configs.xml, which anybody may have written.

By defusedxml's SAX reader: it tells lines, holds no tree, and refuses document types, and with
them entities and external files. defusedxml has had no release since 0.7.1 of 2021, but it is a
few hooks upon the standard library's parser, which is maintained with Python; its maintainer
answers, and the vendor's signing tool has it too. lxml would be megabytes of C for each Python,
and hooks of our own would be for us to keep safe.
"""

import codecs
import re
from collections.abc import Mapping
from xml.sax import SAXParseException
from xml.sax.handler import ContentHandler
from xml.sax.xmlreader import AttributesImpl, Locator

from defusedxml import DefusedXmlException
from defusedxml.sax import parseString

from teeplugin.commands.sizing.description import (
    MAX_UNKNOWN,
    Description,
    Written,
    describe,
    doubts_of,
)
from teeplugin.config.settings import ConfigError, shown, shown_path

KIND = "configs.xml"
ROOT = "ConfigInfo"
SECTIONS: Mapping[str, str] = {
    "uuid": "TA_Basic_Info",
    "service_name": "TA_Basic_Info",
    "heap_size": "TA_Manifest_Info",
    "stack_size": "TA_Manifest_Info",
    "single_instance": "TA_Manifest_Info",
    "multi_session": "TA_Manifest_Info",
    "instance_keep_alive": "TA_Manifest_Info",
    "target_type": "TA_Manifest_Info",
    "mem_page_align": "TA_Manifest_Info",
    "is_lib": "TA_Manifest_Info",
}
"""The tags that matter here, each with the section that it belongs into."""

_DOUBTED = "TA_Manifest_Info"
"""The section in which an unknown tag may be a misspelling of a known one."""

_BY_NAME = {tag: tag for tag, section in SECTIONS.items() if section == _DOUBTED}
_VALUE_DEPTH = 3
_ENCODING = re.compile(rb"""\s*<\?xml[^>]*?encoding\s*=\s*["']([A-Za-z][A-Za-z0-9._-]*)["']""")


def read_configs_xml(path: str, content: bytes) -> Description:
    """Read a configs.xml from its content; `path` is where that came from.

    Raises:
        ConfigError: it is broken, hostile or no configs.xml, or a value breaks its rule.
    """
    file = shown_path(path)
    handler = _Handler(file)
    try:
        parseString(content, handler, forbid_dtd=True)
    except SAXParseException as error:
        _check_encoding(file, content)
        line = error.getLineNumber() or 1
        raise ConfigError(
            f"{file} line {line}: broken XML: {error.getMessage()}: correct the file"
        ) from None
    except DefusedXmlException:
        raise handler.fault(
            "has a document type, which could hold entities or name other files: remove <!DOCTYPE>"
        ) from None
    except (LookupError, ValueError):  # what Python's codecs raise
        raise handler.fault("is in an encoding that can't be read: save it as UTF-8") from None
    if "TA_Manifest_Info" not in handler.sections:
        raise ConfigError(f"{file}: has no TA_Manifest_Info: give the configs.xml of a TA")
    return describe(path, KIND, handler.written, doubts_of(handler.unknown, _BY_NAME))


def _check_encoding(file: str, content: bytes) -> None:
    """Refuse bytes that aren't of the encoding that the file names, or of UTF-8 if it names none.

    Raises:
        ConfigError: they aren't.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return
    named = _ENCODING.match(content)
    encoding = named[1].decode("ascii") if named else "UTF-8"
    line = 1
    # Read as letters of one byte each, it can't be of two. Of single-byte encodings any file is.
    if not encoding.upper().startswith("UTF-16"):
        if encoding.upper() not in ("UTF-8", "US-ASCII"):
            return
        try:
            content.decode(encoding)
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
        else:
            return
    names = f"names the encoding {encoding}" if named else "declares no encoding, so it is UTF-8"
    raise ConfigError(
        f"{file} line {line}: {names}, but its bytes aren't {encoding}: save it as UTF-8 with "
        'encoding="UTF-8" in its first line'
    )


class _Handler(ContentHandler):
    """Collects the known tags as the parser meets them."""

    def __init__(self, file: str) -> None:
        super().__init__()
        self._file = file
        self._locator: Locator | None = None
        self._path: list[str] = []
        self._value: list[str] = []
        self._value_line = 0
        self.sections: dict[str, int] = {}
        self.written: dict[str, Written] = {}
        self.unknown: dict[str, None] = {}

    def fault(self, message: str) -> ConfigError:
        """Make an error line for where the parser is."""
        return ConfigError(f"{self._file} line {self._line()}: {message}")

    def setDocumentLocator(self, locator: Locator) -> None:  # noqa: N802 - SAX's name
        """Keep what tells the line."""
        self._locator = locator

    def startElement(self, name: str, attrs: AttributesImpl) -> None:  # noqa: ARG002, N802 - SAX's
        """Look where a tag stands."""
        if not self._path and name != ROOT:
            raise self.fault(f"the outermost tag is {shown(name)}: give a configs.xml, with {ROOT}")
        if self._known():
            raise self.fault(f"{shown(name)} is inside {self._path[-1]}: give that one value")
        if len(self._path) == 1:
            self._enter_section(name)
        self._path.append(name)
        section = SECTIONS.get(name)
        if section is None and self._path == [ROOT, _DOUBTED, name]:
            self._doubt(name)
        if section and self._path != [ROOT, section, name]:
            raise self.fault(f"{name} belongs in {section}: move it there")
        if section:
            if name in self.written:
                raise self.fault(f"{name} stands in line {self.written[name].line}: remove one")
            self._value_line = self._line()
            self._value.clear()

    def characters(self, content: str) -> None:
        """Collect a value, which may come in pieces."""
        if self._known():
            self._value.append(content)

    def endElement(self, name: str) -> None:  # noqa: N802 - SAX's name
        """Keep a value that is complete."""
        if self._known():
            text = "".join(self._value).strip()
            self.written[name] = Written(self._file, self._value_line, name, text)
        self._path.pop()

    def _enter_section(self, name: str) -> None:
        if name in SECTIONS.values() and name in self.sections:
            raise self.fault(f"{name} stands in line {self.sections[name]}: write one TA a file")
        self.sections[name] = self._line()

    def _doubt(self, name: str) -> None:
        if len(self.unknown) < MAX_UNKNOWN:
            self.unknown[name] = None

    def _known(self) -> bool:
        return len(self._path) == _VALUE_DEPTH and self._path[-1] in SECTIONS

    def _line(self) -> int:
        return (self._locator.getLineNumber() if self._locator else None) or 1
