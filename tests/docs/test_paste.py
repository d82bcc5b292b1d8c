"""README pasted into a bare shell in a fresh clone, from its first command to its last.

Nothing is mocked: `make simulate` makes `.venv` and installs into it, so pip needs an index.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, Block, blocks
from tests.live_terminal import OWN_SCREEN, LiveTerminal
from tests.needs import unavailable
from tests.waiting import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(300)]

PAGE = "README.md"
PROBE = "hatchling>=1.27"
"""What `make simulate` takes from the index first."""

_PATH = "/usr/local/bin:/usr/bin:/bin"
_REACHES_AN_INDEX = re.compile(
    r"PIP_\w+|(https?|all|no)_proxy|SSL_CERT_(FILE|DIR)|(REQUESTS_CA|CURL_CA)_BUNDLE", re.IGNORECASE
)
_NOT_SOURCES = shutil.ignore_patterns(
    *(".git", ".venv", ".nox", ".hypothesis", ".*_cache", "__pycache__", "build", "dist", "pkg")
)
_BLOCK_SECONDS = 150
# A terminal shows the line as it is typed: `%d`, and then what it prints: a number.
_ENDED = r"printf '\nblock %d ended: %d\n' {number} $?"


def is_pasted(block: Block) -> bool:
    """Whether README says of a block neither that it needs more nor that it takes minutes."""
    marked = block.kind == "not run" or block.on_a_cluster or block.on_a_node
    return block.is_command and not marked


def bare_environment(directory: Path) -> dict[str, str]:
    """No settings but how an index is reached, and on PATH a Python as README asks for."""
    home, python = directory / "home", directory / "python"
    home.mkdir()
    python.mkdir()
    name = f"python3.{sys.version_info.minor}"
    # The last on PATH: it counts only where the system has none that is new enough.
    (python / name).symlink_to(Path(sys.base_prefix, "bin", name))
    found = {key: os.environ[key] for key in os.environ if _REACHES_AN_INDEX.fullmatch(key)}
    return found | {"HOME": str(home), "PATH": f"{_PATH}:{python}", "TERM": "xterm-256color"}


def need_an_index(directory: Path, environment: dict[str, str]) -> None:
    """Skip or fail where pip reaches no index."""
    options = (
        "--quiet",
        "--no-deps",
        "--retries=0",
        "--timeout=15",
        f"--dest={directory / 'probe'}",
    )
    asked = subprocess.run(
        [sys.executable, "-m", "pip", "download", *options, PROBE],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if asked.returncode:
        lines = asked.stderr.strip().splitlines()
        unavailable(f"`make simulate` needs a package index: {lines[-1] if lines else 'no answer'}")


def fresh_checkout(directory: Path) -> Path:
    """A clone; where the sources aren't a repository that git reads, a copy of them."""
    folder = directory / "teeplugin"
    if (ROOT / ".git").exists() and shutil.which("git"):
        clone = ["git", "clone", "--quiet", str(ROOT), str(folder)]
        if subprocess.run(clone, capture_output=True, timeout=60, check=False).returncode == 0:
            return folder
        shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT, folder, symlinks=True, ignore=_NOT_SOURCES)
    return folder


class BareShell:
    """An interactive shell in a terminal, which ends at the first command that fails."""

    def __init__(self, terminal: LiveTerminal) -> None:
        self._terminal = terminal
        self._pasted = 0

    def printed(self) -> str:
        self._terminal.text()
        return self._terminal.written.decode(errors="replace").replace("\r", "")

    async def begin(self) -> None:
        """Have the shell end at a failure: of several commands in a block, each one counts."""
        self._terminal.press("set -e\n")
        await self._end("set -e")

    async def paste(self, block: Block) -> None:
        """Paste a block, and wait for its end; its key ends what keeps running."""
        self._terminal.press(block.body)
        if block.goes_on:
            await self._terminal.shows("plugin registered")
            self._terminal.press("q")
            await eventually(f"{block.name}: the end by q", self._screen_is_given_back, 15)
        await self._end(f"{block.name}:\n{block.body}")

    def _screen_is_given_back(self) -> bool:
        self._terminal.text()
        return OWN_SCREEN in self._terminal.written

    async def _end(self, what: str) -> None:
        self._pasted += 1
        ended = re.compile(rf"^block {self._pasted} ended: 0$", re.MULTILINE)
        self._terminal.press(_ENDED.format(number=self._pasted) + "\n")

        def finished() -> bool:
            printed = self.printed()
            alive = self._terminal.process.poll() is None
            assert alive or ended.search(printed), f"{what}\nfailed:\n{printed[-3000:]}"
            return bool(ended.search(printed))

        await eventually(f"the end of {what}", finished, _BLOCK_SECONDS)


@pytest.mark.parametrize("shell", ["sh", "bash"])
async def test_readmes_commands_work_as_they_are_pasted(
    shell: str, tmp_path: Path, scratch: Path
) -> None:
    if shutil.which(shell) is None:
        unavailable(f"there is no {shell} to paste into")
    environment = bare_environment(tmp_path)
    need_an_index(tmp_path, environment)
    checkout = fresh_checkout(tmp_path)
    pasted = [block for block in blocks(PAGE, checkout) if is_pasted(block)]
    assert "make simulate" in pasted[0].body
    command = (
        *("env", "-i", *(f"{key}={value}" for key, value in environment.items())),
        *("sh", "-c", 'cd "$0" && exec "$1" 2>&1', str(checkout), shell),
    )
    with LiveTerminal(scratch, command=command) as terminal:
        bare = BareShell(terminal)
        await bare.begin()
        for block in pasted:
            await bare.paste(block)
        terminal.press("exit\n")
        assert await terminal.ended() == 0
    commands = sum(len(block.body.splitlines()) for block in pasted)
    print(f"\n{shell}: {len(pasted)} blocks with {commands} commands of {PAGE} work as pasted")
