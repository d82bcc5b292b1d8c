"""The YAML file as a layer of settings with line numbers; called by config_sources.

Scalars are taken as they are written, not as YAML 1.1 would read them (`010` as 8, `1:30` as
90), so that a value means the same in a flag, a variable and the file. Nothing is constructed:
only YAML's nodes are looked at.
"""

import stat
from collections.abc import Callable, Iterable
from pathlib import Path

import yaml

from teeplugin.config import SETTINGS, ConfigError, nearest, shown
from teeplugin.config_sources import OPTIONS_KEY, Given, Layer, config_path

MOST_FILE_BYTES = 1024**2
"""A configuration has hundreds of bytes; this keeps a file without end from filling the memory."""

_TAG = "tag:yaml.org,2002:"
_NULL, _BOOL = f"{_TAG}null", f"{_TAG}bool"
_PLAIN_TAGS = {f"{_TAG}{kind}" for kind in ("str", "int", "float", "timestamp", "value", "merge")}


def from_file(file: Given) -> Layer:
    """Read the configuration file.

    Raises:
        ConfigError: it can't be read, is no mapping, or has a key that isn't ours.
    """
    path = config_path(file)
    name = shown(str(path))
    root = _parsed(name, _read(path, file))
    layer = Layer()
    if root is None or root.tag == _NULL:
        return layer
    if not isinstance(root, yaml.MappingNode):
        raise _fault(name, root, "not a mapping: write `key: value` lines, like precision: 512")
    for key, key_node, node in _entries(name, root, _dashed):
        setting_key = _known(name, key_node, key)
        if setting_key != OPTIONS_KEY:
            layer.values[setting_key] = _given(name, key, node)
        elif node.tag != _NULL:  # all of its lines may be comments
            layer.options.update(_options(name, key, node))
    return layer


def _read(path: Path, file: Given) -> str:
    cure = "give a readable YAML file, or leave it out"
    try:
        # Looked at before it is opened: a pipe would wait for its writer, a device may act.
        if not stat.S_ISREG(path.stat().st_mode):
            raise file.refused("not a regular file", cure)
        with path.open("rb") as stream:
            content = stream.read(MOST_FILE_BYTES + 1)
    except OSError as error:
        raise file.refused(f"can't be read ({error.strerror})", cure) from None
    if len(content) > MOST_FILE_BYTES:
        raise file.refused("more than 1 MiB: not a configuration", cure)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise file.refused(f"not UTF-8 in line {line}", "save the file as UTF-8") from None


def _parsed(name: str, text: str) -> yaml.Node | None:
    try:
        # PyYAML builds nodes only; types-PyYAML calls the result Any or None.
        root: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f" line {mark.line + 1}" if mark else ""
        problem = error.problem or error.context or "unreadable"
        raise ConfigError(f"{name}{line}: broken YAML: {problem}: mend the line") from None
    except yaml.reader.ReaderError as error:
        line_number = text.count("\n", 0, error.position) + 1
        raise ConfigError(
            f"{name} line {line_number}: broken YAML: a character that YAML forbids: remove it"
        ) from None
    except RecursionError:
        raise ConfigError(
            f"{name}: broken YAML: nested too deeply: write one `key: value` a line"
        ) from None
    return root


def _fault(name: str, node: yaml.Node, fault: str) -> ConfigError:
    return ConfigError(f"{name} line {node.start_mark.line + 1}: {fault}")


def _entries(
    name: str, mapping: yaml.MappingNode, canonical: Callable[[str], str]
) -> Iterable[tuple[str, yaml.ScalarNode, yaml.Node]]:
    """Go through a mapping, refusing what YAML allows and nobody means: a key given twice."""
    lines: dict[str, int] = {}
    for key_node, node in mapping.value:
        if not isinstance(key_node, yaml.ScalarNode):
            raise _fault(name, key_node, "a key must be a word: write it as `key: value`")
        key = str(key_node.value)
        if (first := lines.get(canonical(key))) is not None:
            fault = f"{shown(key)}: given twice, first in line {first}: remove one"
            raise _fault(name, key_node, fault)
        lines[canonical(key)] = key_node.start_mark.line + 1
        yield key, key_node, node


def _dashed(key: str) -> str:
    return key.replace("_", "-")


def _known(name: str, node: yaml.Node, written: str) -> str:
    """Give the setting's key, or refuse with the one that was probably meant."""
    key = _dashed(written)
    if key in SETTINGS:
        return key
    # Who knows a flag tries its name here as well, and who knows the code the attribute's.
    names = {_dashed(setting.attribute): key for key, setting in SETTINGS.items()}
    names |= {flag.lstrip("-"): key for key, setting in SETTINGS.items() for flag in setting.flags}
    names |= {key: key for key in SETTINGS}
    meant = nearest(key, names)
    cure = f"did you mean {names[meant]}?" if meant else f"the keys are {', '.join(SETTINGS)}"
    raise _fault(name, node, f"{shown(written)}: unknown key: {cure}")


def _given(name: str, key: str, node: yaml.Node) -> Given:
    line = f"{name} line {node.start_mark.line + 1}"
    if not isinstance(node, yaml.ScalarNode):
        kind = "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"
        raise ConfigError(f"{line}: {key}: must be one value, not {kind}: write `{key}: VALUE`")
    if node.tag not in _PLAIN_TAGS | {_NULL, _BOOL}:
        raise ConfigError(f"{line}: {key}: has the tag {shown(node.tag)}: remove the tag")
    return Given(
        None if node.tag == _NULL else str(node.value),
        origin=f"file {line}",
        place=f"{line}: {key}: ",
        spelling=f"{key}: ",
    )


def _options(name: str, key: str, node: yaml.Node) -> Iterable[tuple[str, Given]]:
    if not isinstance(node, yaml.MappingNode):
        raise _fault(name, node, f"{key}: must be a mapping: write `KEY: VALUE` in lines below it")
    for option, _, value in _entries(name, node, str):
        given = _given(name, option, value)
        if given.text is None:
            raise given.refused("has no value", "give it one, or remove the line")
        if value.tag == _BOOL:
            truth = yaml.SafeLoader.bool_values[given.text.lower()]
            given = Given(str(truth).lower(), given.origin, given.place, given.spelling)
        yield option, given
