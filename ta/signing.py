"""Checks what a TA is to be signed with, and signs it by the SDK's tool; for ta/Makefile.

The tool signs whatever it is given, and only the TEE refuses what doesn't match its certificate.
So everything that can be compared is compared first, with one line for each mismatch.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from certificate import UnknownFormError, key_fault, mismatches, read_config
from manifest import (
    SIZES,
    FaultError,
    Stated,
    configs_text,
    manifest_text,
    normal,
    read_configs,
    read_manifest,
)

# What is applied for where nothing else is given.
DEFAULTS = {
    "uuid": "e3d37f4a-f24c-48d0-8884-3bdd6c44e988",
    "service_name": "tee-memory",
    "heap_size": "81920",
    "stack_size": "8192",
    "single_instance": "true",
    "multi_session": "true",
    "instance_keep_alive": "true",
}
# The Makefile's name of each setting.
VARIABLES = {
    "uuid": "UUID",
    "service_name": "SERVICE_NAME",
    "heap_size": "HEAP",
    "stack_size": "STACK",
    "single_instance": "SINGLE_INSTANCE",
    "multi_session": "MULTI_SESSION",
    "instance_keep_alive": "KEEP_ALIVE",
}
# What pip calls the packages of modules with another name.
PACKAGES = {"Crypto": "pycryptodome"}
PAGE_BYTES = 4096
TOOL = "signtool_v3.py"
INI = "config_cloud.ini"
REFUSED = "the TEE refuses such a TA: make them agree, or apply for another certificate"


class Files(NamedTuple):
    """Where everything is that is signed, and signed with."""

    key: Path
    config: Path
    configs: Path
    manifest: Path
    tools: Path
    unsigned: Path
    out: Path

    def missing(self) -> list[str]:
        """Name the files that the developer has to bring."""
        return [str(each) for each in (self.key, self.config) if not each.is_file()]


class Build(NamedTuple):
    """What the manifest will say, and what to tell about it."""

    values: dict[str, str]
    faults: list[str]
    notes: list[str]


def stated_by_files(files: Files, faults: list[str]) -> dict[str, Stated]:
    """Read the two files that may describe the TA, by their paths; they need not be there."""
    found = {}
    for path, read in ((files.configs, read_configs), (files.manifest, read_manifest)):
        if path.is_file():
            try:
                found[str(path)] = read(path.read_bytes())
            except FaultError as error:
                faults.append(f"{path}: {error}")
    return found


def build_of(files: Files, given: dict[str, str]) -> Build:
    """Put together what the TA is built with: the certificate, the files, then make's settings."""
    faults: list[str] = []
    notes: list[str] = []
    stated = stated_by_files(files, faults)
    signed = issued_values(files, stated, faults, notes)
    if faults:
        return Build({}, faults, notes)
    values = dict(signed)
    for path, each in stated.items():
        notes += [f"{path}: {note}" for note in each.notes]
        faults += [f"{path}: {line}: {REFUSED}" for line in mismatches(signed, each.values)]
        values.update(each.values)
    settings = in_measure_of(signed, given)
    for tag, value in settings.items():
        place = f"{VARIABLES[tag]}={given[tag]}"
        faults += [f"{place}: {line}: {REFUSED}" for line in mismatches(signed, {tag: value})]
    values.update(settings)
    return Build(values, faults, notes + notes_on(values, signed, given))


def issued_values(
    files: Files, stated: dict[str, Stated], faults: list[str], notes: list[str]
) -> dict[str, str]:
    """Read what the certificate was issued for; the first file counts if its form isn't known."""
    try:
        certificate = read_config(files.config.read_bytes())
        if fault := key_fault(files.key.read_bytes(), certificate.der):
            fix = "the TEE refuses what it signs: give the key that the certificate is for"
            faults.append(f"{files.key}: {fault} in {files.config}: {fix}")
    except FaultError as error:
        faults.append(f"{files.config}: {error}")
        return {}
    except UnknownFormError as error:
        if not stated:
            what = f"{error}, so it doesn't tell what the certificate was issued for"
            faults.append(f"{files.config}: {what}: put its configs.xml at {files.configs}")
            return {}
        notes.append(f"{files.config}: not compared, because its form isn't known: {error}")
        path, first = next(iter(stated.items()))
        missing = [tag for tag in ("uuid", *SIZES) if tag not in first.values]
        faults += [f"{path}: it doesn't say {tag}: add it" for tag in missing]
        return first.values
    return certificate.values


def in_measure_of(signed: dict[str, str], given: dict[str, str]) -> dict[str, str]:
    """Write sizes in pages where the certificate's mem_page_align says that pages count."""
    if signed.get("mem_page_align") != "true":
        return given
    return {
        tag: str(-(-int(value) // PAGE_BYTES)) if tag in SIZES else value
        for tag, value in given.items()
    }


def notes_on(values: dict[str, str], signed: dict[str, str], given: dict[str, str]) -> list[str]:
    """Write what is no fault and has to be known."""
    notes = [
        f"{tag} is {values[tag]}, less than the {signed[tag]} that the certificate allows"
        for tag in SIZES
        if int(values[tag]) < int(signed[tag])
    ]
    if values.get("mem_page_align") == "true":
        mib = int(values["heap_size"]) * PAGE_BYTES / 1024**2
        notes.append(f"mem_page_align: sizes are in pages of 4 KiB, so the heap has {mib:,.1f} MiB")
    if values.get("multi_session") != "true":
        notes.append("multi_session is false: of two queries that overlap, one finds the TA busy")
    if "uuid" not in given and values["uuid"] != DEFAULTS["uuid"]:
        notes.append(
            f"the certificate's UUID counts: give the plugin --backend-option uuid={values['uuid']}"
            f", and make library UUID={values['uuid']}"
        )
    return notes


def missing_of_the_tool(tools: Path) -> list[str]:
    """Check each Python module that the signing tool imports, and the program that it runs."""
    missing = [name for name in sorted(imported(tools)) if not can_import(name)]
    faults = []
    if missing:
        packages = [PACKAGES.get(name, name) for name in missing]
        command = [sys.executable, "-m", "pip", "install", *packages]
        faults.append(
            f"the signing tool needs the Python modules {', '.join(missing)}, which "
            f"{sys.executable} lacks: {shlex.join(command)}"
        )
    if not shutil.which("openssl"):
        faults.append("openssl is missing, which the signing tool runs: install it")
    return faults


def imported(tools: Path) -> set[str]:
    """Name the modules that the tool and its own modules import at their start."""
    found: set[str] = set()
    waiting, seen = [TOOL], set()
    while waiting:
        name = waiting.pop()
        seen.add(name)
        for node in ast.parse((tools / name).read_bytes()).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            for each in (full.partition(".")[0] for full in names):
                own = f"{each}.py"
                if not (tools / own).is_file():
                    found.add(each)
                elif own not in seen:
                    waiting.append(own)
    return found


def can_import(name: str) -> bool:
    """Whether this Python has the module, with what the module itself needs."""
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True


def sign(files: Files, values: dict[str, str]) -> Path:
    """Have the tool make the .sec, and put it into the output folder.

    The tool takes paths of A-Z a-z 0-9 / _ . - only, so it works in a folder of /tmp.

    Raises:
        FaultError: the tool failed.
    """
    log = files.unsigned.parent.parent / "signtool.log"
    with tempfile.TemporaryDirectory(prefix="tee-sign.", dir="/tmp") as name:
        plain = Path(name)
        for folder in ("in", "out"):
            (plain / folder).mkdir()
        shutil.copy(files.unsigned, plain / "in" / "libcombine.so")
        (plain / "in" / "manifest.txt").write_text(manifest_text(values))
        (plain / "key.pem").symlink_to(files.key.resolve())
        (plain / "config").symlink_to(files.config.resolve())
        (plain / "sign.ini").write_text(settings_of_the_tool(files.tools / INI, plain))
        words = map(str, (files.tools / TOOL, plain / "in", plain / "out"))
        with log.open("wb") as output:
            result = subprocess.run(
                [sys.executable, "-B", *words, "--privateCfg", str(plain / "sign.ini")],
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
        signed = plain / "out" / f"{values['uuid']}.sec"
        if result.returncode or not signed.is_file():
            raise FaultError(f"the signing tool failed: {why(log)}: its output is in {log}")
        files.out.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy(signed, files.out))


def why(log: Path) -> str:
    """Find the line of the tool's output that says most: its first error, or else its last line."""
    lines = log.read_text(errors="replace").split("\n")
    errors = [line for line in lines if line.startswith(("ERROR:", "CRITICAL:"))]
    return (errors or [line for line in lines if line.strip()][-1:] or ["it says nothing"])[0]


def settings_of_the_tool(ini: Path, plain: Path) -> str:
    """Name key and configuration in the SDK's settings for the tool.

    Raises:
        FaultError: they don't have the two lines that are to be changed.
    """
    text = ini.read_text()
    for key, name in (("secSignKey", "key.pem"), ("configPath", "config")):
        text, count = re.subn(rf"(?m)^{key}\s*=.*$", f"{key} = {plain / name}", text)
        if count != 1:
            raise FaultError(f"{ini} isn't as expected: it has {count} lines of {key}")
    return text


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("command", choices=("request", "check", "sign"))
    parser.add_argument("--optional", action="store_true", help="no certificate is no fault")
    for name in Files._fields:
        parser.add_argument(f"--{name}", type=Path, default=Path())
    for tag in VARIABLES:
        parser.add_argument(f"--{tag}")
    return parser


def run(command: str, files: Files, given: dict[str, str], *, optional: bool) -> list[str]:
    """Check or sign, and give the lines of what is wrong."""
    if missing := files.missing():
        line = (
            f"{files.unsigned} is built, but for the .sec the developer's certificate is "
            f"incomplete: no {' '.join(missing)}"
        )
        if optional:
            sys.stdout.write(f"{line}\n")
        # A check comes before the object is built, which needs no certificate.
        return [] if optional or command == "check" else [line]
    if command == "check" and (lacking := missing_of_the_tool(files.tools)):
        return lacking
    build = build_of(files, given)
    if command == "check":
        sys.stdout.writelines(f"note: {note}\n" for note in build.notes)
    elif not build.faults:
        sys.stdout.write(f"signed {sign(files, build.values)}\n")
    return build.faults


def main() -> None:
    """Run one command; each fault is one line, and the exit status is 1."""
    parsed = _arguments().parse_args()
    # Made absolute without following links, for the paths in messages to be those that were given.
    paths = (os.path.abspath(getattr(parsed, name)) for name in Files._fields)  # noqa: PTH100 - links stay
    files = Files(*map(Path, paths))
    try:
        given = {tag: normal(tag, text) for tag in VARIABLES if (text := getattr(parsed, tag))}
        if parsed.command == "request":
            sys.stdout.write(configs_text({**DEFAULTS, **given}))
            faults = []
        else:
            faults = run(parsed.command, files, given, optional=parsed.optional)
    except (FaultError, OSError) as error:
        faults = [str(error)]
    sys.stderr.writelines(f"error: {fault}\n" for fault in faults)
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
