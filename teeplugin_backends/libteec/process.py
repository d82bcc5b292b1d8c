"""Starts the helper process, one at a time, and never waits for one that can't end.

The helper's program goes over its standard input as compiled code, with the request: it needs no
file of ours, so it works from within a zip archive, and it compiles nothing at each query.
Standard input, output and error are files in memory: the query is over when the process is, and
nobody has to keep reading from one that hangs.
"""

import asyncio
import contextlib
import fcntl
import importlib.util
import marshal
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import CodeType

import anyio

from teeplugin_backends.base import CLOSE_SECONDS
from teeplugin_backends.libteec.client import LOG_NAME

_PACKAGE = __package__ or "teeplugin_backends.libteec"
_MODULES = ("abi", "client", "driver_info", "helper")
"""What the helper is made of, each after those that it imports."""

WRONG_INTERPRETER = 96
"""The helper's exit status where the interpreter that started isn't the plugin's."""

# Compiled code may only be read by the very interpreter that compiled it, and an interpreter that
# was moved takes the standard library of another: both are looked at before anything is imported.
_BOOT = f"""\
import sys
if sys.argv[1:] != [sys.version, sys.base_prefix]:
    print("interpreter", sys.version.split()[0], "of", sys.base_prefix)
    sys.exit({WRONG_INTERPRETER})
import marshal
request, modules = marshal.load(sys.stdin.buffer)
package = None
for name, code in modules:
    module = type(sys)(name)
    sys.modules[name] = module
    if package:
        setattr(sys.modules[package], name.rpartition(".")[2], module)
    if code is None:
        package, module.__path__ = name, []
    else:
        exec(code, module.__dict__)
module.main(request)
"""

_ANSWER_BYTES = 64 * 1024
_LONGEST_QUOTE = 200
LOOK_AFTER_SECONDS = 0.5
"""A query that takes longer than this is looked at while it runs: most take 0.05 s."""
_END_SECONDS = CLOSE_SECONDS / 2
"""How long a helper that was killed is waited for: it may hang in the kernel."""

_ENVIRONMENT = {"LC_ALL": "C.UTF-8", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
_PASSED_ON = "LD_LIBRARY_PATH"
"""The one variable the helper inherits: the interpreter or libteec may be found by it only."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a helper ended, and what it told before, by key; of a repeated key the last."""

    status: int
    told: Mapping[str, str] = field(default_factory=dict)
    complaint: str = ""
    """The last line on standard error."""

    @property
    def signal_name(self) -> str | None:
        """What ended it, if a signal did."""
        if self.status >= 0:
            return None
        try:
            return signal.Signals(-self.status).name
        except ValueError:
            return f"signal {-self.status}"


Look = Callable[[Mapping[str, str]], None]


class CantEndError(Exception):
    """The helper of an earlier query was killed and is still there: no other is started."""

    def __init__(self, pid: int, step: str) -> None:
        super().__init__(pid, step)
        self.pid, self.step = pid, step


class HelperProcesses:
    """Runs helpers whose argv[0] is `identity`, one at a time.

    `counters` tells how many were started, how many of them were killed, and how many queries were
    not asked because an earlier helper could not be ended. `look` is called every
    LOOK_AFTER_SECONDS of a query with what the helper has told so far.
    """

    def __init__(self, identity: str, look: Look = lambda _told: None) -> None:
        self._identity, self._look = identity, look
        self._process: asyncio.subprocess.Process | None = None
        self.counters = dict.fromkeys(("helper_started", "helper_killed", "helper_stuck"), 0)
        self._killed = False
        self.step = ""
        """What the newest helper was last heard to do."""
        self.told: Mapping[str, str] = {}
        """All that the newest helper told, whatever its end, by key."""
        self.complaint = ""
        """The last line that it, or the library in it, wrote on standard error."""

    @property
    def outstanding(self) -> bool:
        """Whether a helper is there: at work, or killed and not yet gone."""
        return self._process is not None and self._process.returncode is None

    async def run(self, request: Mapping[str, str]) -> Ended:
        """Run one helper to its end; when this is cancelled it is killed, and not waited for.

        What `look` raises ends the helper likewise.

        Raises:
            CantEndError: an earlier one is still there.
            OSError: it can't be started.
        """
        if self._process is not None and self.outstanding:
            # It may have been killed just now, and need a moment.
            with anyio.move_on_after(_END_SECONDS):
                await self._process.wait()
        if self._process is not None and self.outstanding:
            self.counters["helper_stuck"] += 1
            raise CantEndError(self._process.pid, self.step)
        program = marshal.dumps(({**request, "parent": str(os.getpid())}, _program()))
        with _memory_file(program) as stdin, _output() as stdout, _output() as stderr:
            self.step, self.told, self.complaint = "", {}, ""
            process = self._process = await self._start(stdin, stdout, stderr)
            self._killed = False
            self.counters["helper_started"] += 1
            try:
                while process.returncode is None:
                    with anyio.move_on_after(LOOK_AFTER_SECONDS):
                        await process.wait()
                        break
                    self._look(_told(_read(stdout)))
            finally:
                self.told = _told(_read(stdout))
                self.step = self.told.get("step", "")
                self.complaint = _last_line(_read(stderr))
                self._kill()
            return Ended(await process.wait(), self.told, self.complaint)

    async def close(self) -> None:
        """Kill the helper, if there is one, and wait for it a moment only."""
        self._kill()
        if self._process is not None:
            with anyio.move_on_after(_END_SECONDS, shield=True):
                await self._process.wait()

    async def _start(self, stdin: int, stdout: int, stderr: int) -> asyncio.subprocess.Process:
        inherited = os.environ.get(_PASSED_ON)
        return await asyncio.create_subprocess_exec(
            *(self._identity, "-I", "-S", "-c", _BOOT, sys.version, sys.base_prefix),
            executable=_interpreter(),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=_ENVIRONMENT | ({_PASSED_ON: inherited} if inherited else {}),
            cwd="/",
            # A terminal's Ctrl-C is for the plugin, which then ends the helper itself.
            start_new_session=True,
        )

    def _kill(self) -> None:
        if self._process is not None and self.outstanding:
            if not self._killed:
                self._killed = True
                self.counters["helper_killed"] += 1
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()


def _interpreter() -> str:
    """Find the interpreter that runs us: the base one, as a venv's is lost with its argv[0].

    `sys.executable` can't be trusted where our own argv[0] was chosen; what the kernel runs can,
    unless that is a program that Python is embedded in.
    """
    running = os.path.realpath("/proc/self/exe")
    if os.path.basename(running).startswith("python") and os.path.exists(running):  # noqa: PTH119, PTH110 - no Path at each query
        return running
    return getattr(sys, "_base_executable", None) or sys.executable


@cache
def _program() -> tuple[tuple[str, CodeType | None], ...]:
    """The helper's modules, compiled; None stands for a package, of which nothing is run."""
    parent, _, _ = _PACKAGE.rpartition(".")
    names = (f"{_PACKAGE}.{module}" for module in _MODULES)
    return ((parent, None), (_PACKAGE, None), *((name, _code(name)) for name in names))


def _code(name: str) -> CodeType:
    # Asked for by its name: zip archives' loader is none of importlib's abstract ones.
    spec = importlib.util.find_spec(name)
    get_code = getattr(spec.loader, "get_code", None) if spec else None
    code: CodeType | None = get_code(name) if get_code else None
    if code is None:
        raise RuntimeError(f"{name}: its loader gives no code: reinstall the package")
    return code


@contextlib.contextmanager
def _memory_file(content: bytes = b"", flags: int = os.MFD_CLOEXEC) -> Iterator[int]:
    file = os.memfd_create("tee-helper", flags)
    try:
        os.write(file, content)
        os.lseek(file, 0, os.SEEK_SET)
        yield file
    finally:
        os.close(file)


@contextlib.contextmanager
def _output() -> Iterator[int]:
    """Make a file that can't grow: a library gone wild fills nobody's memory."""
    with _memory_file(flags=os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING) as file:
        os.ftruncate(file, _ANSWER_BYTES)
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
        yield file


def _read(file: int) -> str:
    return os.pread(file, _ANSWER_BYTES, 0).rstrip(b"\0").decode("utf-8", "replace")


def _told(text: str) -> dict[str, str]:
    pairs = (line.partition(" ") for line in text.splitlines())
    return {key: value for key, _, value in pairs}


def _last_line(text: str) -> str:
    """Quote the last line, without what a terminal would act on, nor the library's own prefix."""
    lines = ("".join(filter(str.isprintable, line)).strip() for line in text.splitlines())
    last = next(filter(None, reversed([*lines])), "")
    return last.removeprefix(f"{LOG_NAME}: ")[:_LONGEST_QUOTE]
