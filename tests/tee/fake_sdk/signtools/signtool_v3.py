"""Stands in for the SDK's signing tool: takes what that takes, and puts the parts end to end."""

import argparse
import configparser
import os
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("in_path", type=Path)
    parser.add_argument("out_path", type=Path)
    parser.add_argument("--privateCfg", required=True)
    arguments = parser.parse_args()
    os.chdir(Path(__file__).parent)  # as that does: its settings' paths are relative to it
    settings = configparser.ConfigParser()
    settings.read(arguments.privateCfg)
    public = settings["signSecPublicCfg"]
    manifest = (arguments.in_path / "manifest.txt").read_text()
    properties = dict(line.split(": ", 1) for line in manifest.splitlines())
    (arguments.out_path / "temp").mkdir()
    parts = [
        manifest.encode(),
        Path(public["secSignKey"]).read_bytes(),
        Path(public["configPath"]).read_bytes(),
        (arguments.in_path / "libcombine.so").read_bytes(),
    ]
    name = f"{properties['gpd.ta.appID']}.sec"
    (arguments.out_path / name).write_bytes(b"".join(parts))


main()
