"""`tee-device-plugin size`: how many units the TAs of a container need."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence

from teeplugin.cli.console import put
from teeplugin.cli.layout import terminal_columns
from teeplugin.cli.parser import Parser
from teeplugin.commands.sizing.arguments import add_arguments, estimate
from teeplugin.commands.sizing.claim import claim_template
from teeplugin.commands.sizing.estimate import Estimate
from teeplugin.commands.sizing.report import as_data, as_table

_DESCRIPTION = """\
Print how much secure memory the TAs of one container need, part by part, and the number of units
to request in the pod. Reads each TA's configs.xml or manifest.txt, or both. Precision and resource
name may also come from the plugin's environment variables or its file."""


def parser() -> Parser:
    """Give the command's flags."""
    made = Parser("size", usage="%(prog)s [FLAGS] FILE...", description=_DESCRIPTION)
    add_arguments(made)
    made.add_argument("--format", choices=tuple(_FORMATS), default="table", help="output format")
    made.add_argument(
        "--claim", action="store_true", help="print a claim's template instead, for serve: dra"
    )
    return made


def main(argv: Sequence[str]) -> int:
    """Print the estimate and give the exit status.

    Raises:
        ConfigError: a flag or a file can't be used.
    """
    flags = parser().parse_intermixed_args(argv)
    if flags.claim:
        return put(claim_template("tee", estimate(flags)))
    return put(_FORMATS[flags.format](estimate(flags)))


def _table(made: Estimate) -> str:
    return as_table(made, terminal_columns(sys.stdout))


def _json(made: Estimate) -> str:
    return f"{json.dumps(as_data(made), indent=2)}\n"


def _yaml(made: Estimate) -> str:
    import yaml  # noqa: PLC0415 - only where it is asked for

    # In ASCII, with YAML's own escapes: an output that can't write a character would have another.
    return yaml.safe_dump(as_data(made), sort_keys=False, allow_unicode=False, width=1000)


_FORMATS: Mapping[str, Callable[[Estimate], str]] = {
    "table": _table,
    "json": _json,
    "yaml": _yaml,
}
