"""`tee-device-plugin pod`: a pod's manifest for the TAs of a container."""

import argparse
import re
from collections.abc import Sequence

from teeplugin.cli.console import put
from teeplugin.cli.parser import Parser
from teeplugin.commands.sizing.arguments import add_arguments, estimate
from teeplugin.commands.sizing.estimate import Estimate
from teeplugin.commands.sizing.pod_manifest import PodSettings, pod_manifest
from teeplugin.config.settings import ConfigError, shown

_DESCRIPTION = """\
Print a pod's manifest with the number of units that its TAs need, and with the other fields that a
container with a CA and its TAs needs. The number is that of the command size."""

MAX_UID = 2**31 - 1
"""The largest user id that Kubernetes takes."""

_LONGEST_NAME = 63
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_NOT_IN_A_NAME = re.compile(r"[^a-z0-9]+")
_HOST_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_PATH_PART = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_IMAGE = re.compile(
    # An image's ID isn't to be taken for a name: distribution's reference.Parse refuses it too.
    r"(?![a-f0-9]{64}$)"
    rf"(?P<name>(?:(?:{_HOST_LABEL}(?:\.{_HOST_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?/)?"
    rf"{_PATH_PART}(?:/{_PATH_PART})*)"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?"
    r"(?:@(?:sha256:[a-f0-9]{64}|sha384:[a-f0-9]{96}|sha512:[a-f0-9]{128}))?"
)
"""The grammar of container images' names, which distribution's package reference defines."""

_LONGEST_IMAGE_NAME = 255
"""Without tag and digest: distribution's RepositoryNameTotalLengthMax."""

_LONGEST_IMAGE = 1024
_DIGITS = re.compile(r"[0-9]{1,10}")


def parser() -> Parser:
    """Give the command's flags."""
    made = Parser("pod", usage="%(prog)s --image IMAGE [FLAGS] FILE...", description=_DESCRIPTION)
    add_arguments(made)
    made.add_argument("--image", required=True, metavar="IMAGE", help="the container's image")
    made.add_argument(
        "--name", metavar="NAME", help="name of pod and container (the first TA's, or ca)"
    )
    made.add_argument(
        "--user", default="0", metavar="UID", help="the user that the TAs' allowlists admit (0)"
    )
    made.add_argument(
        "--command", metavar="PATH", help="the CA's path that the TAs' allowlists admit"
    )
    made.add_argument(
        "--claim",
        action="store_true",
        help="request units by a claim, if the plugin runs with serve: dra",
    )
    return made


def main(argv: Sequence[str]) -> int:
    """Print the manifest and give the exit status.

    Raises:
        ConfigError: a flag or a file can't be used.
    """
    flags = parser().parse_intermixed_args(argv)
    made = estimate(flags)
    return put(pod_manifest(made, _terms(flags, made)), for_programs=True)


def _terms(flags: argparse.Namespace, made: Estimate) -> PodSettings:
    return PodSettings(
        name=_default_name(made) if flags.name is None else _name(flags.name),
        image=_image(flags.image),
        user_id=_user(flags.user),
        command=None if flags.command is None else _command(flags.command),
        claim=flags.claim,
    )


def _default_name(made: Estimate) -> str:
    """Make a name of the first TA's."""
    service_name = made.applications[0].description.service_name or ""
    words = _NOT_IN_A_NAME.sub("-", service_name.lower())
    return words.strip("-") or "ca"


def _name(text: str) -> str:
    if len(text) > _LONGEST_NAME or not _NAME.fullmatch(text):
        raise ConfigError(
            f"--name {shown(text)}: must be at most {_LONGEST_NAME} lower-case letters, digits and "
            "-, with a letter or digit at both ends: give e.g. --name my-ca"
        )
    return text


def _image(text: str) -> str:
    match = _IMAGE.fullmatch(text) if len(text) <= _LONGEST_IMAGE else None
    if match is None or len(match["name"]) > _LONGEST_IMAGE_NAME:
        raise ConfigError(
            f"--image {shown(text)}: is no image's name: give [HOST[:PORT]/]PATH[:TAG][@DIGEST], "
            "PATH in lower case, e.g. --image registry.example/ca:1"
        )
    return text


def _user(text: str) -> int:
    if not _DIGITS.fullmatch(text) or int(text) > MAX_UID:
        raise ConfigError(
            f"--user {shown(text)}: must be a user's number from 0 to {MAX_UID}: give e.g. "
            "--user 0 for root"
        )
    return int(text)


def _command(text: str) -> str:
    if not text.startswith("/") or not text.isprintable():
        raise ConfigError(
            f"--command {shown(text)}: must be an absolute path: give the path that the TA's "
            "allowlist has, e.g. --command /vendor/bin/demo_hello"
        )
    return text
