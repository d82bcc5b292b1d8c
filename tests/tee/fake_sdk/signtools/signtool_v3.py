"""Stands in for the SDK's signing tool: takes what that takes, and puts the parts end to end."""

import argparse
import configparser
import os
import re
import sys
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("in_path", type=Path)
    parser.add_argument("out_path", type=Path)
    parser.add_argument("--privateCfg", required=True)
    arguments = parser.parse_args()
    arguments.in_path = plain(arguments.in_path.resolve())
    arguments.out_path = plain(arguments.out_path.resolve())
    os.chdir(Path(__file__).parent)  # as that does: its settings' paths are relative to it
    settings = configparser.ConfigParser()
    settings.read(arguments.privateCfg)
    public = settings["signSecPublicCfg"]
    manifest = (arguments.in_path / "manifest.txt").read_text()
    properties = dict(line.split(": ", 1) for line in manifest.splitlines())
    (arguments.out_path / "temp").mkdir()
    parts = [
        manifest.encode(),
        plain(Path(public["secSignKey"])).read_bytes(),
        plain(Path(public["configPath"])).read_bytes(),
        (arguments.in_path / "libcombine.so").read_bytes(),
    ]
    name = f"{properties['gpd.ta.appID']}.sec"
    (arguments.out_path / name).write_bytes(b"".join(parts))


def plain(path: Path) -> Path:
    """Refuse, as that does, what may mean something to a shell."""
    if not re.fullmatch(r"[A-Za-z0-9/_.-]+", str(path)):
        sys.exit(f"{path} is incorrect.")
    return path


main()
