"""The command line `tee-device-plugin`: bare it is the daemon, else the command of that name.

Nothing is imported before it is known to be needed: the daemon's start is part of a pod's.
"""

import contextlib
import gc
import importlib
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from teeplugin.cli.console import EXIT_FAILURE, EXIT_INTERRUPTED, complain, put, warn
from teeplugin.cli.pages import HELP, VERSION, asked_page, help_page, version_page

if TYPE_CHECKING:
    from teeplugin.config.settings import Settings
    from teeplugin.config.sources import Loaded

EXIT_USAGE = 2


class Command(NamedTuple):
    """A command: its help line, and the module whose `main(argv) -> int` it is."""

    summary: str
    module: str


COMMANDS: Mapping[str, Command] = {
    "simulate": Command("try it without a TEE", "teeplugin.simulator.command"),
    "status": Command("show the running plugin", "teeplugin.commands.status"),
    "doctor": Command("check the whole setup", "teeplugin.commands.doctor.command"),
    "identity": Command("identity to allow in the TA", "teeplugin.commands.identity"),
    "size": Command("units that TAs need", "teeplugin.commands.sizing.size_command"),
    "cdi": Command("print a CDI specification", "teeplugin.commands.cdi"),
    "pod": Command("a pod's manifest", "teeplugin.commands.sizing.pod_command"),
    "completion": Command("script for bash or zsh", "teeplugin.commands.completion"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program with these words, or with the process's own, and give its exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    if (page := asked_page(words, COMMANDS)) is not None:
        return put(page)
    # Else pydantic reads every installed package's entry points for plugins of its own: a tenth
    # of the start.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    if not (words and words[0] in COMMANDS):
        _expect_early_signals()
        # The start makes much and drops nothing: looking for garbage takes a sixth of it. Until
        # the plugin looks after that itself.
        gc.disable()
    try:
        return _run(words)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    finally:
        gc.enable()


def _expect_early_signals() -> None:
    """Answer signals well that come before the loop takes over, a third of a second from now.

    SIGHUP asks for what is about to be done anyway, and there is nothing yet to be cleaned up.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))


def _run(words: Sequence[str]) -> int:
    from teeplugin.config.settings import ConfigError  # noqa: PLC0415 - after Ctrl-C is handled
    from teeplugin.config.typography import check_words  # noqa: PLC0415 - likewise

    try:
        check_words(words)
        if words and words[0] in (HELP, VERSION):
            return _refuse_word(words)
        if words and words[0] in COMMANDS:
            return _command(COMMANDS[words[0]], words[1:])
        return _daemon(words)
    except ConfigError as error:
        complain(str(error))
        return EXIT_USAGE


def _refuse_word(words: Sequence[str]) -> int:
    """Refuse what follows `help` or `version` and has no page.

    Raises:
        ConfigError: always.
    """
    from teeplugin.config.settings import ConfigError, nearest, shown  # noqa: PLC0415 - imported by now

    command, word = words[0], words[-1] if words[0] == VERSION else words[1]
    if command == VERSION or word in COMMANDS:
        raise ConfigError(f"{command} {shown(words[-1])}: unexpected word: leave it out")
    meant = nearest(word, COMMANDS)
    guess = f"did you mean {meant}? " if meant else ""
    raise ConfigError(
        f"{command} {shown(word)}: unknown command: {guess}the commands are {', '.join(COMMANDS)}"
    )


def _command(command: Command, words: Sequence[str]) -> int:
    return int(importlib.import_module(command.module).main(words))


def _daemon(words: Sequence[str]) -> int:
    from teeplugin.config.go_flags import read_flags  # noqa: PLC0415 - not for commands
    from teeplugin.config.sources import load, reloading  # noqa: PLC0415 - likewise

    summaries = {name: command.summary for name, command in COMMANDS.items()}
    line = read_flags(words, summaries)
    if "help" in line.switches:
        return put(help_page())
    if "version" in line.switches:
        return put(version_page())
    loaded = load(line.values, os.environ)
    if "print-config" in line.switches:
        from teeplugin.config.print_config import as_yaml  # noqa: PLC0415 - likewise

        warn(doubt.line for doubt in loaded.doubts)
        return put(as_yaml(loaded)) or _check_backend(loaded.settings)

    load_again = reloading(loaded, line.values, os.environ)

    def read_again() -> "Settings":
        again = load_again()
        _log_doubts(again)
        return again.settings

    return _serve(loaded, read_again, line.without_dash)


def _check_backend(settings: "Settings") -> int:
    """Make the backend, which asks no TEE; 0 if that is possible.

    Raises:
        ConfigError: the plugin would end at once with this backend or its options.
    """
    from teeplugin.tee.entry_points import load_backend  # noqa: PLC0415 - not for the daemon's start

    load_backend(settings.backend, settings.backend_options)
    return 0


def _serve(
    loaded: "Loaded", read: Callable[[], "Settings"], without_dash: Sequence[str] = ()
) -> int:
    from teeplugin.config.settings import ConfigError  # noqa: PLC0415 - imported by now

    settings = loaded.settings
    with _hidden("rich"):  # structlog loads it, for tracebacks that we don't write: 5 MB
        from teeplugin.logs.setup import configure, get_logger  # noqa: PLC0415 - the daemon's only

    configure(settings.log_format, settings.log_level)
    for word in without_dash:
        get_logger().warning(
            "flag_without_dash",
            word=word,
            effect="used as the flag with a dash",
            fix=f"write -{word}",
        )

    _log_doubts(loaded)
    from teeplugin.daemon.reload import Sources  # noqa: PLC0415 - likewise
    from teeplugin.daemon.run import run  # noqa: PLC0415 - the daemon's rest, after all mistakes

    try:
        return run(settings, Sources(read, loaded.file))
    except ConfigError:
        raise
    except Exception:  # noqa: BLE001 - it is told, not hidden
        # Whoever reads the log reads lines, perhaps of JSON: a bug is told in one as well.
        get_logger().critical("plugin_bug", exc_info=True)
        return EXIT_FAILURE


def _log_doubts(loaded: "Loaded") -> None:
    from teeplugin.logs.setup import get_logger  # noqa: PLC0415 - imported by now

    for doubt in loaded.doubts:
        get_logger().warning("implausible_setting", **doubt._asdict())


@contextlib.contextmanager
def _hidden(name: str) -> Iterator[None]:
    """Have imports find no such package meanwhile, unless it is loaded already."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]  # means to imports: it isn't there
    try:
        yield
    finally:
        del sys.modules[name]
