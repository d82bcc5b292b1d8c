"""The image's bill of materials, from what is installed in it; written by assemble.

`sbom.py EXECUTABLE` prints that of the one-file executable.

CycloneDX 1.6: the Python packages with their versions, licences and dependencies, the base's
packages, and the vendor's files by their checksums. The same content makes the same bytes.
"""

import hashlib
import json
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import uuid
import zipfile
from collections.abc import Iterator, Mapping
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any
from urllib.parse import quote

PLUGIN = "teeplugin"

_NAMESPACE = uuid.UUID("6f0b8a5e-5f0c-4c5e-9d0e-1f2d3a4b5c6d")
"""An arbitrary one of our own: serial numbers are made from the content below it."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# What lists a base's installed packages: name, version, architecture, a line each.
_LISTERS = {
    "rpm": ["rpm", "-qa", "--queryformat", "%{NAME}\t%{VERSION}-%{RELEASE}\t%{ARCH}\n"],
    "deb": ["dpkg-query", "-W", "-f", "${Package}\t${Version}\t${Architecture}\n"],
}


def cyclonedx(site: Path, files: Mapping[str, Path], *, base: bool = True) -> str:
    """Write the bill for the packages in `site`, the base's, and files by their path in the image.

    Without a base it has only what is in `site`.

    Raises:
        LookupError: the plugin itself is not in `site`.
    """
    installed = {_normal(one.metadata["Name"]): one for one in distributions(path=[str(site)])}
    if PLUGIN not in installed:
        raise LookupError(f"{site} has no package {PLUGIN}")
    root = _python_package(installed[PLUGIN])
    others = [one for name, one in sorted(installed.items()) if name != PLUGIN]
    content = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": root | {"type": "application"}},
        "components": [
            *map(_python_package, others),
            *(_base_packages() if base else ()),
            *(_file(path, found) for path, found in sorted(files.items())),
        ],
        "dependencies": [
            {"ref": _purl(one), "dependsOn": sorted(_needs(one, installed))}
            for _, one in sorted(installed.items())
        ],
    }
    text = json.dumps(content, sort_keys=True)
    content["serialNumber"] = f"urn:uuid:{uuid.uuid5(_NAMESPACE, text)}"
    return json.dumps(content, indent=2) + "\n"


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _purl(one: Distribution) -> str:
    return f"pkg:pypi/{_normal(one.metadata['Name'])}@{one.version}"


def _python_package(one: Distribution) -> dict[str, Any]:
    component: dict[str, Any] = {
        "type": "library",
        "bom-ref": _purl(one),
        "name": one.metadata["Name"],
        "version": one.version,
        "purl": _purl(one),
    }
    if expression := _told(one, "License-Expression"):
        component["licenses"] = [{"expression": expression[0]}]
    elif name := _licence_name(one):
        component["licenses"] = [{"license": {"name": name}}]
    return component


def _licence_name(one: Distribution) -> str:
    """The licence in the words of the package's metadata, where it is one line."""
    told = [line for line in _told(one, "License") if "\n" not in line]
    classifiers = [line for line in _told(one, "Classifier") if "License ::" in line]
    return " or ".join(told or (line.rpartition(" :: ")[2] for line in classifiers))


def _told(one: Distribution, field: str) -> list[str]:
    return [line for line in one.metadata.get_all(field) or () if line]


def _needs(one: Distribution, installed: Mapping[str, Distribution]) -> set[str]:
    """What a package requires, of what is installed, but for its extras."""
    plain = (line for line in one.requires or () if "extra ==" not in line)
    names = (_normal(match[0]) for line in plain if (match := _NAME.match(line)))
    return {_purl(installed[name]) for name in names if name in installed}


def _base_packages() -> Iterator[dict[str, Any]]:
    release = platform.freedesktop_os_release()
    for kind, command in _LISTERS.items():
        if shutil.which(command[0]) is None:
            continue
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        for line in sorted(set(listed.splitlines())):
            name, version, architecture = line.split("\t")
            where = f"pkg:{kind}/{release['ID'].lower()}/{quote(name)}@{quote(version)}"
            purl = f"{where}?arch={architecture}"
            yield {
                "type": "library",
                "bom-ref": purl,
                "name": name,
                "version": version,
                "purl": purl,
            }


def _file(path: str, found: Path) -> dict[str, Any]:
    digest = hashlib.sha256(found.read_bytes()).hexdigest()
    return {
        "type": "file",
        "bom-ref": path,
        "name": path,
        "hashes": [{"alg": "SHA-256", "content": digest}],
    }


def main() -> None:
    """Print the bill of the one-file executable, from its packages' metadata."""
    with tempfile.TemporaryDirectory() as scratch, zipfile.ZipFile(sys.argv[1]) as executable:
        told = [name for name in executable.namelist() if ".dist-info/" in name]
        executable.extractall(scratch, told)
        sys.stdout.write(cyclonedx(Path(scratch, "site-packages"), {}, base=False))


if __name__ == "__main__":
    main()
