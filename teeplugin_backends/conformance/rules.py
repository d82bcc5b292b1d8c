"""What the values that a backend gives have to be like.

Each function raises BrokenPromiseError with what was found and what would be right.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from teeplugin_backends.base import (
    ContainerAccess,
    Device,
    Finding,
    Identity,
    Mount,
    TeeBackend,
    TeeError,
    TeeMemory,
)
from teeplugin_backends.conformance.lines import raised

_KEPT_VARIABLES = re.compile("TEE_RAM_(UNITS|UNIT_BYTES|BYTES)(_.*)?")
"""Those the plugin sets itself: a backend's would be lost."""

_PERMISSIONS = re.compile("r?w?m?")
_SHA256 = re.compile("[0-9a-f]{64}")
_LONGEST_FLAVOUR = 64
"""Characters of an attribute's value in a ResourceSlice (Kubernetes' API resource.k8s.io/v1)."""


class ContractViolationError(AssertionError):
    """A backend doesn't do what base promises: which, what it did, and what would be right."""


def _must(rule: str, *, holds: bool) -> None:
    if not holds:
        raise ContractViolationError(rule)


def must_be_none(what: str, left: Sequence[str]) -> None:
    """Check that nothing is left; `what` says of which kind."""
    _must(f"{what}: {', '.join(left)}", holds=not left)


def refusal(message: str, bad: Mapping[str, str]) -> None:
    """Check an OptionError's message: one line that names the option and its value."""
    _must(f"the OptionError has more than one line: {message!r}", holds="\n" not in message)
    # Of several, any one may be what it complains of.
    named = [key for key, value in bad.items() if key in message and value in message]
    _must(
        f"the OptionError for {dict(bad)} names no option with its value: {message!r}",
        holds=bool(named),
    )


def reading(answer: object, expected: TeeMemory | None) -> None:
    """Check what `memory` answers while the TEE is well."""
    if isinstance(answer, BaseException):
        raise ContractViolationError(
            f"memory() raised {raised(answer)}: answer a TeeMemory while the TEE is well"
        ) from answer
    _must(
        f"memory() answered {answer!r}: answer a TeeMemory while the TEE is well",
        holds=isinstance(answer, TeeMemory),
    )
    _must(f"memory() answered {answer}, and not {expected}", holds=expected in (None, answer))


def fault(outcome: object, kind: type[TeeError]) -> None:
    """Check what `memory` raises while the TEE fails."""
    should = f"memory() should raise {kind.__name__} now,"
    if not isinstance(outcome, BaseException):
        raise ContractViolationError(
            f"{should} and answered {outcome!r}: old figures are no answer"
        )
    if not isinstance(outcome, TeeError):
        raise ContractViolationError(
            f"{should} and raised {raised(outcome)}: turn every error into a kind of TeeError, "
            "else it counts as a bug"
        ) from outcome
    _must(f"{should} and raised {raised(outcome)}", holds=isinstance(outcome, kind))
    _must(f"{outcome!r} says nothing: say what happened", holds=bool(str(outcome).strip()))
    _must(f"{outcome!r} has no fix: say what an operator can do", holds=bool(outcome.fix.strip()))


def access(given: object, expected: ContainerAccess | None) -> None:
    """Check that the kubelet could hand it to a container."""
    if not isinstance(given, ContainerAccess):
        raise ContractViolationError(f"access() answered {given!r}: answer a ContainerAccess")
    _must(
        f"access() answered {given}, and not {expected}",
        holds=expected in (None, given),
    )
    mounts: Sequence[object] = given.mounts
    for mount in mounts:
        _must(f"mounts has {mount!r}: give Mount(...)", holds=isinstance(mount, Mount))
    devices: Sequence[object] = given.devices
    for device in devices:
        _must(f"devices has {device!r}: give Device(...)", holds=isinstance(device, Device))
    for path in _paths(given):
        _must(f"{path} must begin with /: give an absolute path", holds=path.startswith("/"))
    for each in given.devices:
        letters = bool(each.permissions) and _PERMISSIONS.fullmatch(each.permissions)
        _must(f"{each}: permissions must be of r, w and m, in this order", holds=bool(letters))
    environment: Iterable[tuple[object, object]] = given.environment.items()
    for name, value in environment:
        texts = isinstance(name, str) and isinstance(value, str)
        _must(f"environment has {name!r}: {value!r}: both must be texts", holds=texts)
        is_kept = _KEPT_VARIABLES.fullmatch(str(name)) is not None
        _must(f"{name} is the plugin's own: choose another name", holds=not is_kept)
    fix: object = given.missing_fix
    is_line = isinstance(fix, str) and "\n" not in fix
    _must(f"missing_fix is {fix!r}: give one line of text, or leave it out", holds=is_line)


def _paths(given: ContainerAccess) -> Iterator[str]:
    yield from given.host_paths()
    yield from (mount.container_path for mount in given.mounts)
    yield from (device.container_path for device in given.devices)


def whole_number(name: str, given: object) -> object:
    """Check that a property of this name is 0 or more; give it back."""
    whole = isinstance(given, int) and not isinstance(given, bool) and given >= 0
    _must(f"{name} is {given!r}: must be a whole number, 0 or more", holds=whole)
    return given


def flavour(given: object) -> object:
    """Check that a selector of claims can name it; give it back."""
    fits = isinstance(given, str) and len(given) <= _LONGEST_FLAVOUR
    _must(f"flavour is {given!r}: must be a text of at most {_LONGEST_FLAVOUR}", holds=fits)
    return given


def identity(given: object) -> object:
    """Check that it says what an allowlist needs; give it back."""
    if given is None:
        return None
    if not isinstance(given, Identity):
        raise ContractViolationError(f"identity() answered {given!r}: answer an Identity, or None")
    hashed = _SHA256.fullmatch(given.sha256)
    _must(f"{given}: sha256 must be 64 lower-case hexadecimal digits", holds=bool(hashed))
    return given


def counters(given: object, before: Mapping[str, int]) -> dict[str, int]:
    """Check that none has gone or become less, as metrics need it; what they are now."""
    if not isinstance(given, Mapping):
        raise ContractViolationError(f"counters() answered {given!r}: answer a mapping")
    now = dict(given)
    for name, value in now.items():
        whole = isinstance(name, str) and isinstance(value, int) and value >= 0
        _must(f"counters() has {name!r}: {value!r}: give a text and a whole number", holds=whole)
    for name, value in before.items():
        _must(f"counters() has no {name} any more", holds=name in now)
        _must(
            f"{name} was {value} and is {now[name]}: counters only grow", holds=now[name] >= value
        )
    return now


def change(outcome: object) -> None:
    """Check that waiting for a change ended without one, or with what the plugin expects."""
    if isinstance(outcome, Exception) and not isinstance(outcome, OSError):
        raise ContractViolationError(
            f"changes() raised {raised(outcome)}: raise OSError where the node can't be watched"
        ) from outcome


def findings(given: object) -> None:
    """Check that doctor can print them."""
    if not isinstance(given, Sequence):
        raise ContractViolationError(f"checks() answered {given!r}: answer a sequence of Finding")
    for each in given:
        _must(f"checks() has {each!r}: give Finding(...)", holds=isinstance(each, Finding))
        _must(f"{each}: must have a name and a text", holds=bool(each.check and each.text))
    names = [each.check for each in given]
    _must(f"checks() names one link twice: {names}", holds=len(set(names)) == len(names))


def must_equal(
    what: str, first: object, look: Callable[[TeeBackend], object], backend: TeeBackend, state: str
) -> None:
    """Check that a look at the backend still gives what it gave first, whatever the TEE does."""
    try:
        now = look(backend)
    except Exception as error:
        raise ContractViolationError(
            f"{what} raised {raised(error)} while the TEE {state}"
        ) from error
    if now != first:
        raise ContractViolationError(f"{what} was {first!r}, and is {now!r} while the TEE {state}")
