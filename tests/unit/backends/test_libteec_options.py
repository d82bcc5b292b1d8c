"""The libteec backend's options: every mistake is told with value, rule and fix."""

from collections.abc import Mapping

import pytest

from teeplugin_backends.base import OptionError
from teeplugin_backends.libteec import LibTeec
from teeplugin_backends.libteec.options import DEFAULT_UUID, Options
from teeplugin_backends.options import parse_options

OTHER_UUID = "01234567-89AB-cdef-0123-456789abcdef"


def parsed(pairs: Mapping[str, str]) -> Options:
    return parse_options(pairs, Options())


def refusal(**pairs: str) -> str:
    with pytest.raises(OptionError) as caught:
        parsed({key.replace("_", "-"): text for key, text in pairs.items()})
    return str(caught.value)


def test_nothing_has_to_be_given() -> None:
    assert parsed({}) == Options()
    assert Options().ta_file == f"/data/{DEFAULT_UUID}.sec"


def test_the_trusted_applications_file_goes_by_its_uuid_unless_it_is_named() -> None:
    assert parsed({"uuid": OTHER_UUID}).ta_file == f"/data/{OTHER_UUID.lower()}.sec"
    named = parsed({"uuid": OTHER_UUID, "ta-path": "/opt/ours.sec"})
    assert named.ta_file == "/opt/ours.sec"


def test_a_named_library_is_the_only_one_tried() -> None:
    assert parsed({"library": "/opt/libteec.so"}).libraries("optee") == ("/opt/libteec.so",)
    assert parsed({}).libraries("auto") == ("libteec.so", "libteec.so.2", "libteec.so.1")
    assert parsed({}).libraries("itrustee") == ("libteec.so",)


# Value, rule and fix of each, in this order.
MISTAKES: list[tuple[dict[str, str], list[str]]] = [
    ({"flavor": "auto"}, ["flavor=auto", "no such option", "flavour, library, uuid, ta-path"]),
    ({"flavour": "op-tee"}, ["flavour=op-tee", "auto, itrustee, optee", "give auto"]),
    ({"library": "libteec.so"}, ["library=libteec.so", "absolute path", "/usr/lib64/libteec.so"]),
    ({"library": "/usr/lib64/"}, ["library=/usr/lib64/", "path to a file", "give"]),
    ({"library": "/a\nb"}, ["absolute path", "give"]),
    ({"uuid": "e3d37f4a"}, ["uuid=e3d37f4a", "must be a UUID", DEFAULT_UUID]),
    ({"uuid": f"{DEFAULT_UUID}\n"}, ["must be a UUID", "manifest"]),
    ({"ta_path": "/data/x.ta"}, ["ta-path=/data/x.ta", "end in .sec", "give the signed file"]),
    ({"ta_path": "data/x.sec"}, ["ta-path=data/x.sec", "absolute path", "give"]),
    (
        {"ta_path": f"/{'x' * 251}.sec"},
        ["ta-path=/xxx", "255 bytes or fewer", "give a shorter path"],
    ),
    ({"identity": "tee-device-plugin"}, ["identity=tee", "absolute path", "/vendor/bin/"]),
    ({"identity": f"/{'x' * 255}"}, ["identity=/xxx", "255 bytes or fewer", "shorter"]),
    ({"user": "0"}, ["user=0", "a user's name", "root"]),
    ({"user": ""}, ["user=", "a user's name", "root"]),
    ({"user": "x" * 33}, ["user=xxx", "a user's name", "root"]),
    ({"device": "/tee0"}, ["device=/tee0", "below /dev", "/dev/tee0"]),
    ({"device": "/dev/"}, ["device=/dev/", "absolute path to a file", "/dev/tee0"]),
]


@pytest.mark.parametrize(("pairs", "parts"), MISTAKES, ids=lambda value: str(value)[:40])
def test_a_mistake_is_told_with_value_rule_and_fix(pairs: dict[str, str], parts: list[str]) -> None:
    line = refusal(**pairs)
    places = [line.find(part) for part in parts]
    assert -1 not in places, line
    assert places == sorted(places), line


def test_the_longest_paths_are_taken() -> None:
    options = {"ta-path": f"/{'x' * 250}.sec", "identity": f"/{'x' * 254}"}
    assert parsed(options).ta_file == options["ta-path"]


def test_the_backend_is_made_from_its_options() -> None:
    assert isinstance(LibTeec.from_options({"flavour": "optee"}), LibTeec)
    with pytest.raises(OptionError):
        LibTeec.from_options({"colour": "red"})
