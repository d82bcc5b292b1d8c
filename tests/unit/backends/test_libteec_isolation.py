"""What the helper process is given: a name, a fixed environment, three files, and no shell."""

import ast
import os
import tomllib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

import teeplugin
import teeplugin_backends
from teeplugin_backends.libteec import process
from teeplugin_backends.libteec.backend import LibTeec
from teeplugin_backends.libteec.process import HelperProcesses

pytestmark = pytest.mark.anyio

NAME = "/vendor/bin/some-name"
ROOT = Path(__file__).parents[3]
PACKAGES = (teeplugin, teeplugin_backends)


@pytest.fixture
async def helpers() -> AsyncIterator[HelperProcesses]:
    helpers = HelperProcesses(NAME)
    yield helpers
    await helpers.close()


def plays(monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    """Have the helper do this one line."""
    source = f"import os, sys\ndef main(request):\n    {line}\n"
    program = (("package", None), ("package.helper", compile(source, "helper", "exec")))
    monkeypatch.setattr(process, "_program", lambda: program)


# What it is given


@pytest.mark.parametrize("libraries", [None, "/some/where:/else/where"])
async def test_its_environment_is_these_variables_and_no_others(
    helpers: HelperProcesses, monkeypatch: pytest.MonkeyPatch, libraries: str | None
) -> None:
    for name in ("LD_PRELOAD", "LD_AUDIT", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONINSPECT", "HOME"):
        monkeypatch.setenv(name, "/nowhere")
    monkeypatch.setenv("TEEPLUGIN_LISTEN", "off")
    monkeypatch.setenv("A_TOKEN", "secret")
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    expected = {"LC_ALL": "C.UTF-8", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    if libraries is not None:
        monkeypatch.setenv("LD_LIBRARY_PATH", libraries)
        expected["LD_LIBRARY_PATH"] = libraries
    plays(monkeypatch, r'print("got", *open("/proc/self/environ").read().split("\0"))')
    told = (await helpers.run({})).told
    assert dict(pair.split("=", 1) for pair in told["got"].split()) == expected


async def test_it_inherits_its_three_files_and_no_other_descriptor(
    helpers: HelperProcesses, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # The one that listing opens is counted; it is the lowest that is free.
    plays(monkeypatch, 'print("open", *sorted(os.listdir("/proc/self/fd")))')
    inheritable = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(inheritable, True)
    try:
        told = (await helpers.run({})).told
    finally:
        os.close(inheritable)
    assert told["open"] == "0 1 2 3"


async def test_nothing_that_was_asked_for_stands_on_its_command_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plays(
        monkeypatch,
        'print("words", open("/proc/self/cmdline", "rb").read().split(bytes(1)));'
        'print("uuid", request["uuid"]); print("file", request["ta_path"])',
    )
    uuid, file = "01234567-89ab-cdef-0123-456789abcdef", "/somewhere/else.sec"
    backend = LibTeec.from_options({"uuid": uuid, "ta-path": file, "identity": NAME})
    helpers = backend._helpers
    told = (await helpers.run(backend._request())).told
    assert (told["uuid"], told["file"]) == (uuid, file)
    assert uuid not in told["words"]
    assert file not in told["words"]
    assert told["words"].startswith("[b'/vendor/bin/some-name', b'-I', b'-S', b'-c', ")


# Who starts programs


def sources() -> Iterator[tuple[str, ast.Module]]:
    for package in PACKAGES:
        (home,) = package.__path__
        for path in sorted(Path(home).rglob("*.py")):
            name = f"{package.__name__}/{path.relative_to(home)}"
            yield name, ast.parse(path.read_text(encoding="utf-8"))


STARTERS = {
    *("create_subprocess_exec", "create_subprocess_shell", "subprocess_exec", "subprocess_shell"),
    *("Popen", "run_process", "open_process", "check_call", "check_output", "getoutput"),
    *("system", "popen", "fork", "forkpty", "posix_spawn", "posix_spawnp", "startfile"),
    *(f"exec{how}" for how in ("v", "ve", "vp", "vpe", "l", "le", "lp", "lpe")),
    *(f"spawn{how}" for how in ("v", "ve", "vp", "vpe", "l", "le", "lp", "lpe")),
}


def starts(tree: ast.Module) -> Iterator[str]:
    """The functions that start programs, as they are named where they stand."""
    for node in ast.walk(tree):
        name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
        if name in STARTERS:
            yield name
        elif isinstance(node, ast.keyword) and node.arg == "shell":
            yield "shell="
        elif isinstance(node, ast.Import | ast.ImportFrom):
            modules = [alias.name for alias in node.names] + [getattr(node, "module", "") or ""]
            yield from {"subprocess", "pty", "multiprocessing", "commands"} & set(modules)


def test_two_places_start_programs_and_neither_by_a_shell() -> None:
    found = {name: sorted(starts(tree)) for name, tree in sources()}
    assert {name: names for name, names in found.items() if names} == {
        "teeplugin/simulator/child.py": ["create_subprocess_exec"],
        "teeplugin_backends/libteec/process.py": ["create_subprocess_exec"],
    }


def test_the_search_for_them_finds_what_it_is_to_find() -> None:
    lines = (
        "import subprocess; subprocess.run('x', shell=True)",
        "from os import system; system('x')",
        "os.execvp('x', [])",
        "anyio.run_process('x')",
    )
    for line in lines:
        assert list(starts(ast.parse(line))), line


def test_the_rules_about_security_are_on_for_both_packages() -> None:
    lint = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"]
    assert lint["lint"]["select"] == ["ALL"]
    assert [rule for rule in lint["lint"]["ignore"] if rule.startswith("S")] == []
    assert {pattern.partition("/")[0] for pattern in lint["lint"]["per-file-ignores"]} <= {
        *("tests", "deploy", "ta", "noxfile.py", "hatch_build.py")
    }
