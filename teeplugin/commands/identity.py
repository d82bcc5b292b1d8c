"""`tee-device-plugin identity`: who the plugin is to the TEE, for an allowlist."""

import json
from collections.abc import Mapping, Sequence

from teeplugin.cli.console import put
from teeplugin.cli.parser import CommandParser
from teeplugin.config.settings import ConfigError
from teeplugin.primitives.document import document
from teeplugin.tee.entry_points import load_backend
from teeplugin_backends.base import Identity

_DESCRIPTION = """\
Print the plugin's identity in the TEE: path, user and sha-256. Add it to the allowlist of the
trusted application. The daemon's flags select the backend and its options."""


def parser() -> CommandParser:
    """Give the command's flags."""
    return CommandParser("identity", _DESCRIPTION)


def main(argv: Sequence[str]) -> int:
    """Print the identity and give the exit status.

    Raises:
        ConfigError: the flags or settings can't be used, or the backend has no identity.
    """
    read = parser().read(argv)
    if read is None:
        return 0
    flags, settings = read[0], read[1].settings
    identity = load_backend(settings.backend, settings.backend_options).identity()
    as_json = flags.format == "json"
    if identity is None:
        if as_json:
            _put_json(dict.fromkeys(Identity._fields))
        raise ConfigError(
            f"--backend {settings.backend}: its TEE does not check its callers: "
            "no allowlist needs an entry"
        )
    facts = identity._asdict()
    if as_json:
        return _put_json(facts)
    lines = (f"{name.ljust(len('sha256'))}  {value}\n" for name, value in facts.items())
    return put("".join(lines))


def _put_json(facts: Mapping[str, str | None]) -> int:
    """Write the document; all is null where the TEE asks nobody."""
    return put(f"{json.dumps(document('identity', facts), indent=2)}\n")
