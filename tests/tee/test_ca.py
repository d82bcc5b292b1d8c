"""libteememca: its figures, its settings, and who may ask; faults and builds have their files."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tee.build import HERE, ROOT, SAMPLE_UUID, BuildError, Built, make, read_log, write_signed
from tests.tee.clients import Client

MIB = 1 << 20
GIB = 1 << 30
RESERVE_KB = 600 * 1024
FAILED = (-1, -1)
FAKE_SDK = HERE / "fake_sdk"

RESULTS = [
    *(0x1, 0x2, 0x3, 0x4, 0x6, 0xD),
    *(0xFFFF0000 + code for code in range(0x12)),
    *(0xFFFF3024, 0xFFFF3072, 0xFFFF3124, 0xFFFF5002, 0xFFFF9114, 0xFFFF9116, 0xFFFF9117),
    *(0xFFFFABAB, 0xFFFFCFE5),
]

Clients = Callable[[Built], Client]
pytestmark = pytest.mark.timeout(120)


# ---- figures


def test_free_and_capacity_are_kilobytes_and_the_reserve_is_off_the_capacity_only(
    built: Built, client: Clients
) -> None:
    asked = client(built)
    asked.tell(total_bytes=4 * GIB, free_bytes=3 * GIB)
    assert asked.answer() == (3 * 1024 * 1024, 4 * 1024 * 1024 - RESERVE_KB)


@pytest.mark.parametrize("unit", [1, 1024, 4096, 65536])
def test_the_unit_is_multiplied_before_anything_is_divided(
    built: Built, client: Clients, unit: int
) -> None:
    asked = client(built)
    asked.tell(totalram=3 * GIB // unit + 1, freeram=5, mem_unit=unit)
    assert asked.answer() == (5 * unit // 1024, (3 * GIB + unit) // 1024 - RESERVE_KB)


def test_nothing_free_is_an_answer(built: Built, client: Clients) -> None:
    asked = client(built)
    asked.tell(total_bytes=GIB, free_bytes=0)
    assert asked.answer() == (0, 1024 * 1024 - RESERVE_KB)


def test_a_total_below_the_reserve_leaves_no_capacity(built: Built, client: Clients) -> None:
    asked = client(built)
    asked.tell(total_bytes=500 * MIB, free_bytes=MIB)
    assert asked.answer() == (1024, 0)


def test_sixteen_terabytes_and_the_most_that_64_bits_hold(built: Built, client: Clients) -> None:
    asked = client(built)
    asked.tell(total_bytes=16 << 40, free_bytes=15 << 40)
    assert asked.answer() == (15 << 30, (16 << 30) - RESERVE_KB)
    most = 2**64 - 1
    asked.tell(totalram=most, freeram=most)
    assert asked.answer() == (most // 1024, most // 1024 - RESERVE_KB)


def test_each_query_opens_asks_and_closes(built: Built, client: Clients) -> None:
    asked = client(built)
    asked.figures(rounds=2)
    query = ["init", "open", "invoke", "close", "finalize"]
    assert asked.calls() == ["load", *query * 4]
    assert asked.refusals() == []
    opened = next(line for line in read_log(asked.log, "call") if line["call"] == "open")
    assert opened["login"] == "0x00000007"
    assert opened["uuid"] == SAMPLE_UUID
    assert opened["ta_path"] == str(asked.ta_path)
    invoked = next(line for line in read_log(asked.log, "call") if line["call"] == "invoke")
    assert invoked["paramTypes"] == "0x00002006"
    assert invoked["started"] == "0x00000001"


def test_python_meets_the_same_c_abi(built: Built, client: Clients) -> None:
    asked = client(built)
    asked.tell(anybody=True, total_bytes=2 * GIB, free_bytes=GIB)
    program = (
        "import ctypes, sys\n"
        "library = ctypes.CDLL(sys.argv[1])\n"
        "for name in ('GetTeeFreeMem', 'GetTeeCapacityMem'):\n"
        "    getattr(library, name).restype = ctypes.c_longlong\n"
        "    print(getattr(library, name)())\n"
    )
    asked = asked.with_(argv0=sys.executable)
    result = asked.run(Path(sys.executable), "-I", "-c", program, str(built.libteememca))
    assert result.stdout.split() == [str(1024 * 1024), str(2 * 1024 * 1024 - RESERVE_KB)]


# ---- settings


def test_the_reserve_is_a_setting(built: Built, client: Clients) -> None:
    asked = client(built).with_(environment={"TEEMEMCA_RESERVE_KB": "1024"})
    assert asked.answer()[1] == 1024 * 1024 - 1024


@pytest.mark.parametrize("text", ["-1", "600MiB", "0x10", " 1", "18446744073709551616"])
def test_a_reserve_that_is_no_number_is_no_figure(built: Built, client: Clients, text: str) -> None:
    asked = client(built).with_(environment={"TEEMEMCA_RESERVE_KB": text})
    assert asked.answer() == FAILED


def test_the_uuid_and_the_path_are_settings(built: Built, client: Clients) -> None:
    uuid = "01234567-89AB-cdef-0123-456789abcdef"
    asked = client(built)
    write_signed(asked.directory / "other.sec")
    asked = asked.with_(
        environment={
            "TEEMEMCA_UUID": uuid,
            "TEEMEMCA_TA_PATH": str(asked.directory / "other.sec"),
        }
    )
    asked.tell(uuid=uuid.lower())
    assert asked.answer() != FAILED
    asked.tell(uuid=SAMPLE_UUID)
    assert asked.answer() == FAILED


@pytest.mark.parametrize(
    "uuid",
    [
        "e3d37f4a-f24c-48d0-8884-3bdd6c44e98",
        "e3d37f4a-f24c-48d0-8884-3bdd6c44e9889",
        "e3d37f4a_f24c-48d0-8884-3bdd6c44e988",
        "g3d37f4a-f24c-48d0-8884-3bdd6c44e988",
        "e3d37f4-af24c-48d0-8884-3bdd6c44e988",
    ],
)
def test_a_uuid_that_is_none_asks_nobody(built: Built, client: Clients, uuid: str) -> None:
    asked = client(built).with_(environment={"TEEMEMCA_UUID": uuid})
    assert asked.answer() == FAILED
    assert asked.calls() == []


def test_a_path_that_libteec_would_not_take_asks_nobody(built: Built, client: Clients) -> None:
    asked = client(built).with_(environment={"TEEMEMCA_TA_PATH": f"/{'x' * 251}.sec"})
    assert asked.answer() == FAILED
    assert asked.calls() == []


def test_settings_are_built_in(built: Built, client: Clients) -> None:
    asked = client(built)
    directory = asked.directory / "own"
    make(
        ROOT / "ca",
        [
            f"OUT={directory}",
            f"OBJ={directory}/obj",
            "UUID=00000000-1111-2222-3333-444444444444",
            f"TA_DIRECTORY={asked.directory}",
            "RESERVE_KB=0",
        ],
    )
    write_signed(asked.directory / "00000000-1111-2222-3333-444444444444.sec")
    asked.tell(uuid="00000000-1111-2222-3333-444444444444")
    asked = asked.with_(environment={"TEEMEMCA_TA_PATH": ""})
    result = asked.run(built.driver, str(directory / "libteememca.so"))
    assert result.stdout == f"{768 * 1024} {1024 * 1024} 0\n"


def test_a_header_written_the_other_way_gives_the_same_figures(
    built: Built, client: Clients, tmp_path: Path
) -> None:
    asked = client(built)
    directory = asked.directory / "sdk"
    headers = shutil.copytree(FAKE_SDK / "CA", tmp_path / "an @, spaces and 中文")
    make(ROOT / "ca", [f"OUT={directory}", f"OBJ={directory}/obj", f"TEEC_HEADERS={headers}"])
    used = (directory / "obj" / "used").read_text()
    assert str(headers) in used
    result = asked.run(built.driver, str(directory / "libteememca.so"))
    assert result.stdout == f"{768 * 1024} {1024 * 1024 - RESERVE_KB} 0\n"


def test_a_header_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"has no tee_client_api\.h: name the SDK's"):
        make(ROOT / "ca", [f"OUT={tmp_path}", f"OBJ={tmp_path}", f"TEEC_HEADERS={tmp_path}"])


# ---- who may ask


@pytest.mark.parametrize("argv0", ["tee-device-plugin", "/an @, spaces, it's 中文", sys.executable])
def test_another_argv0_is_refused(built: Built, client: Clients, argv0: str) -> None:
    asked = client(built).with_(argv0=argv0)
    assert asked.answer() == FAILED
    assert read_log(asked.log, "call")[1]["argv0"] == argv0
    assert "allowlist" in asked.refusals()[0]


def _others_may_reach(path: Path) -> bool:
    return all(parent.stat().st_mode & 0o001 for parent in path.resolve().parents)


@pytest.mark.only_root("can become another user")
@pytest.mark.parametrize(
    ("uid", "why"), [(65534, "allowlist"), (54321, "passwd")], ids=["nobody", "no passwd entry"]
)
def test_another_user_is_refused(built: Built, client: Clients, uid: int, why: str) -> None:
    asked = client(built).with_(user=uid)
    asked.log.touch()
    asked.log.chmod(0o666)
    # pytest's directories are its user's own.
    for path in (*built.libteememca.parents, *asked.log.parents):
        if path.stat().st_uid == 0 and path.name.startswith(("pytest-", "tee", "plain", "test_")):
            path.chmod(0o755)
    assert _others_may_reach(built.libteememca)
    assert _others_may_reach(asked.log)
    assert asked.answer() == FAILED
    assert why in asked.refusals()[0]
