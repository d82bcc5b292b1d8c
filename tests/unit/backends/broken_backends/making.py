"""Backends that break what is promised of making and entering them."""

import contextlib
import os
from collections.abc import Mapping
from typing import Self

from teeplugin_backends.base import (
    OptionError,
    TeeError,
)
from tests.unit.backends.broken_backends.fake import Right, fails, tee


@fails(an_unknown_option_is_refused="from_options takes {'no-such-option'")
class TakesUnknownOptions(Right):
    @classmethod
    def from_options(cls, options: Mapping[str, str]) -> Self:
        return super().from_options({k: v for k, v in options.items() if k == "limit"})


@fails(bad_options_are_refused="from_options takes {'limit': 'soon'}")
class TakesBadValues(Right):
    @classmethod
    def from_options(cls, options: Mapping[str, str]) -> Self:
        return super().from_options({k: v for k, v in options.items() if k != "limit"})


@fails(bad_options_are_refused="raise OptionError, not ValueError(")
class RefusesWithAnotherError(Right):
    @classmethod
    def from_options(cls, options: Mapping[str, str]) -> Self:
        int(options.get("limit", "1"))
        return super().from_options(options)


@fails(bad_options_are_refused="names no option with its value: 'must be a number'")
class RefusesWithoutTheValue(Right):
    @classmethod
    def from_options(cls, options: Mapping[str, str]) -> Self:
        if not options.get("limit", "1").isdigit():
            raise OptionError("must be a number")
        return super().from_options(options)


@fails(bad_options_are_refused="has more than one line")
class RefusesInTwoLines(Right):
    @classmethod
    def from_options(cls, options: Mapping[str, str]) -> Self:
        if not options.get("limit", "1").isdigit():
            raise OptionError(f"limit={options['limit']}\nmust be a number")
        return super().from_options(options)


@fails(making_it_asks_no_tee_and_opens_nothing="the event loop stood still")
class AsksWhenMade(Right):
    @classmethod
    def from_options(cls, options: Mapping[str, str]) -> Self:
        with contextlib.suppress(TeeError):
            tee.memory_now()
        return super().from_options(options)


@fails(making_it_asks_no_tee_and_opens_nothing="from_options opens what it doesn't close: desc")
class OpensWhenMade(Right):
    def __init__(self) -> None:
        super().__init__()
        self.file = os.open("/dev/null", os.O_RDONLY)

    async def __aexit__(self, *_: object) -> None:
        os.close(self.file)


@fails(it_can_be_entered_while_the_tee_fails_or_hangs="__aenter__ gave Unreachable(")
class AsksWhenEntered(Right):
    async def __aenter__(self) -> Self:
        await tee.memory()
        return self


@fails(it_can_be_entered_while_the_tee_fails_or_hangs="takes over 0.5 s, the TEE hangs")
class WaitsWhenEntered(Right):
    async def __aenter__(self) -> Self:
        with contextlib.suppress(TeeError):
            await tee.memory()
        return self


@fails(it_can_be_entered_while_the_tee_fails_or_hangs="return self")
class GivesAnotherWhenEntered(Right):
    async def __aenter__(self) -> Self:
        return type(self)()
