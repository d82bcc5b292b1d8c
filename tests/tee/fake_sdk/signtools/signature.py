"""Signs by openssl, as the SDK's module does: the command is split at blanks."""

import subprocess
from pathlib import Path

import gmssl  # type: ignore[import-not-found]  # noqa: F401 - the SDK's module fails without it, whatever the key


def signature(key: str, message: str, output: str) -> bytes:
    command = f"openssl dgst -sha256 -sign {key} -out {output} {message}"
    subprocess.check_output(command.split())
    return Path(output).read_bytes()
