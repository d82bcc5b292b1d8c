"""A mock of the SDK's signing tool, as strict as that one: it takes what the tool takes.

It puts manifest, configuration, object and signature end to end, where the tool encrypts them.
"""

import argparse
import configparser
import logging
import os
import re
import uuid
from pathlib import Path

import Crypto  # type: ignore[import-not-found]  # noqa: F401 - the tool fails without it
from signature import signature  # type: ignore[import-not-found]

logging.basicConfig(level=logging.INFO)
FLAGS = {"gpd.ta.singleinstance", "gpd.ta.multisession", "gpd.ta.instancekeepalive"}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("in_path")
    parser.add_argument("out_path")
    parser.add_argument("--privateCfg", required=True)
    arguments = parser.parse_args()
    settings = configparser.ConfigParser()
    settings.read(arguments.privateCfg)
    public = settings["signSecPublicCfg"]
    # The key and the configuration as they are written, the folders where they really are.
    key, config = (plain(public[name], name) for name in ("secSignKey", "configPath"))
    in_path = Path(plain(os.path.realpath(arguments.in_path), "input_path"))
    out_path = Path(plain(os.path.realpath(arguments.out_path), "out_path"))
    os.chdir(Path(__file__).parent)  # its settings' paths are relative to it
    properties = read((in_path / "manifest.txt").read_text())
    (out_path / "temp").mkdir()
    parts = [
        (in_path / "manifest.txt").read_bytes(),
        Path(config).read_bytes(),
        next(in_path.glob("*.so")).read_bytes(),
    ]
    message = out_path / "temp" / "config_msg"
    message.write_bytes(b"".join(parts))
    parts.append(signature(key, str(message), str(out_path / "temp" / "signature.bin")))
    name = f"{uuid.UUID(properties['gpd.ta.appid'])}.sec"
    (out_path / name).write_bytes(b"".join(parts))


def read(text: str) -> dict[str, str]:
    """Check a manifest as the tool does, and give its properties by their names in lower case."""
    properties = {"gpd.ta.service_name": "external_service"}
    for line in text.splitlines():
        if line.startswith("#") or not line.strip():
            continue
        name, value = line.split(":", 1)
        properties[name.lower()] = value.strip()
        refuse(not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]+", name), "invalid property name")
        refuse(name == "gpd.ta.dynConf", "gpd.ta.dynConf is reserved, cannot set")
    for name in FLAGS & properties.keys():
        refuse(properties[name].lower() not in {"true", "false"}, f"{name} value error!")
    for name in ("gpd.ta.datasize", "gpd.ta.stacksize"):
        int(properties.get(name, "0"))
    service = properties["gpd.ta.service_name"]
    refuse(not re.match(r"^[A-Za-z0-9_-]*$", service), "service name only can use some letters")
    refuse(len(service) > 36, "service name len cannot larger than 36")
    return properties


def plain(path: str, name: str) -> str:
    """Refuse what may mean something to a shell."""
    refuse(not re.match(r"^[A-Za-z0-9\/\-_.]+$", path), f"{name} is invalid.")
    return path


def refuse(is_wrong: bool, words: str) -> None:
    if is_wrong:
        logging.getLogger().error(words)
        raise RuntimeError


main()
