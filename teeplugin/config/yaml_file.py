"""The YAML file as a layer of settings with line numbers."""

from collections.abc import Iterable

import yaml

from teeplugin.config.given import OPTIONS_KEY, Given, Layer, config_path
from teeplugin.config.settings import SETTINGS, ConfigError, nearest, shown, shown_path
from teeplugin.config.yaml_nodes import BOOL, NULL, entries, fault_at, given_at, parsed, read_text


def from_file(file: Given, before: str | None = None) -> tuple[Layer, str]:
    """Read the configuration file: its values, and its text.

    `before` is the text that it had when it was last read.

    Raises:
        ConfigError: it can't be read, is no mapping, has a key that isn't ours, or has lost its end
            since `before`, as while an editor writes it or when the disk is full.
    """
    path = config_path(file)
    name = shown_path(path)
    text = read_text(path, file)
    if before not in (None, text):
        _check_whole(name, text, before or "")
    root = parsed(name, text)
    layer = Layer()
    if root is None or root.tag == NULL:
        return layer, text
    if not isinstance(root, yaml.MappingNode):
        raise fault_at(name, root, "not a mapping: write `key: value` lines, like precision: 512")
    for key, key_node, node in entries(name, "", root, _dashed):
        setting_key = _known(name, key_node, key)
        if setting_key != OPTIONS_KEY:
            layer.values[setting_key] = given_at(name, key, node)
        elif node.tag != NULL:  # all of its lines may be comments
            layer.options.update(_options(name, key, node))
    return layer, text


def _check_whole(name: str, text: str, before: str) -> None:
    """Refuse a file that lost its end: what the rest of it set would fall back to the defaults."""
    if not text.strip(" \t\r\n\0"):
        raise ConfigError(
            f"{name}: is empty: write at least a comment if all settings are to have their defaults"
        )
    if before.endswith("\n") and not text.endswith("\n"):
        line = text.count("\n") + 1
        raise ConfigError(
            f"{name} line {line}: ends without a line break, so it may be truncated: "
            "write the whole file, with a line break at its end"
        )


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
    fix = f"did you mean {names[meant]}?" if meant else f"the keys are {', '.join(SETTINGS)}"
    raise fault_at(name, node, f"{shown(written)}: unknown key: {fix}")


def _options(name: str, key: str, node: yaml.Node) -> Iterable[tuple[str, Given]]:
    for option, _, value in entries(name, key, node):
        given = given_at(name, option, value)
        if given.text is None:
            raise given.refused("has no value", "give it one, or remove the line")
        if value.tag == BOOL:
            truth = yaml.SafeLoader.bool_values[given.text.lower()]
            given = Given(str(truth).lower(), given.origin, given.place, given.spelling)
        yield option, given
