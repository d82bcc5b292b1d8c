"""What doctor is told of the way through libteec, link by link.

The library is never loaded here, nor the TEE asked: what the helper of the one query told is read,
and the files that it depended on are looked at.
"""

import os
import shlex
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from teeplugin_backends.base import Finding, TeeError, TimedOut
from teeplugin_backends.libteec import files, results, teecd, usage
from teeplugin_backends.libteec.answers import HEAP_FIX, PROBLEMS, believable, heap_of, timed_out
from teeplugin_backends.libteec.client import INITIALIZE, ITRUSTEE, OPEN, OPTEE
from teeplugin_backends.libteec.helper import passwd_name
from teeplugin_backends.libteec.options import (
    AUTO,
    CLIENT_NODE,
    CONFIDENTIAL_NODE,
    LOG_NODE,
    Options,
)

CHECKS: Final = (
    *("library", "loading", "flavour", "driver", "confidential-os", "teecd", "device"),
    *("supplicant", "identity", "user", "trusted-application", "versions", "long-calls"),
    *("heap", "pool-end"),
)
"""The names of all findings, those of either vendor."""

_SUPPLICANT_NODE, _SUPPLICANT = "/dev/teepriv0", "tee-supplicant"

_AFTERWARDS = (
    OPEN,
    "TEEC_InvokeCommand",
    "TEEC_CloseSession",
    "TEEC_FinalizeContext",
)
"""The calls that are made only once there is a context."""

_POOL_END = 2 * 1024**2
"""OP-TEE 4.10 refused a trusted application of 1 MiB with 0.9 to 1.8 MiB free, one of 2 MiB with
1.5 MiB."""

_RECENT_SECONDS, _MOST_CALLS = 3600, 5

_NOT_SO_FAR = "the query didn't get this far"


class Way:
    """The way from the plugin to the TEE, as `options` describe it.

    `told` is what the newest helper told, and `said` the last line that the library wrote in it.

    The node's device nodes are seen below `host_root`; everything else is the plugin's own view.
    """

    def __init__(
        self, options: Options, told: Mapping[str, str], host_root: Path, *, said: str = ""
    ) -> None:
        self._options = options
        self._told = told = believable(told)
        self._said = said
        self._host_root = host_root
        named = None if options.flavour == AUTO else options.flavour
        self._vendor = told.get("vendor") or named
        self._problem = told.get("problem", "")
        self._answered = "total" in told
        self._reached = self._answered or told.get("step") in _AFTERWARDS
        """Whether there was a context: driver and daemon have done their part."""

    def findings(self) -> Iterator[Finding]:
        """Every link, in order; without a flavour only those before it is known."""
        yield self._library()
        yield self._loading()
        yield self._flavour()
        if self._vendor == ITRUSTEE:
            yield self._driver()
            yield self._confidential_os()
            yield self._teecd()
            yield self._identity()
            yield self._user()
            yield self._application_file()
            yield self._versions()
            yield self._long_calls()
        elif self._vendor == OPTEE:
            yield self._device()
            yield self._supplicant()
            yield Finding.not_applicable("identity", "OP-TEE does not check its callers")
            yield self._pseudo_application()
            yield from self._pools()

    # ---- the library

    def _library(self) -> Finding:
        names = self._options.libraries(self._vendor or AUTO)
        if found := self._told.get("library") or files.find_library(names):
            return Finding.ok("library", found)
        missing = f"there is no {', '.join(names)}"
        return Finding.failed("library", missing, PROBLEMS["library"][1])

    def _loading(self) -> Finding:
        check, step = "loading", self._told.get("step", "")
        if "library" in self._told:
            return Finding.ok(check, "loaded with all libraries that it needs")
        found = files.find_library(self._options.libraries(self._vendor or AUTO))
        if not found:
            return Finding.not_applicable(check, "no library to load")
        if self._problem == "library":
            fix = (
                "install the named library from the TEE's vendor beside it, and in a container "
                f"mount it too; to list all that it needs:\n{shlex.join(['ldd', str(found)])}"
            )
            return Finding.failed(check, self._told["words"], fix)
        if step.startswith("dlopen "):
            text = f"loading {step.removeprefix('dlopen ')} ended the helper, or didn't return"
            return Finding.failed(check, text, "reinstall the vendor's library")
        return Finding.not_applicable(check, f"{_NOT_SO_FAR}: see query")

    def _flavour(self) -> Finding:
        check = "flavour"
        if self._problem in ("vendor", "symbol"):
            return Finding.failed(check, self._told["words"], PROBLEMS[self._problem][1])
        if vendor := self._told.get("vendor"):
            how = "as configured" if self._options.flavour == vendor else "by its symbols"
            return Finding.ok(check, f"{vendor}, {how}")
        if self._vendor:
            text = f"configured as {self._vendor}, but no library was loaded"
        else:
            text = "unknown without the library; checks that depend on it are skipped"
        return Finding.not_applicable(check, text)

    # ---- iTrustee

    def _driver(self) -> Finding:
        node, check = self._on_node(CLIENT_NODE), "driver"
        if os.path.lexists(node):
            return Finding.ok(check, f"{node} is there")
        if self._reached:
            return Finding.ok(check, f"the TEE was reached, though {node} isn't seen")
        fix = (
            "load iTrustee's driver (tzdriver) on the node; in a container mount the node's /dev "
            "below --host-root"
        )
        return Finding.failed(check, f"there is no {node}", fix)

    def _confidential_os(self) -> Finding:
        node, check = self._on_node(CONFIDENTIAL_NODE), "confidential-os"
        if os.path.lexists(node):
            return Finding.ok(check, f"{node} is there")
        if not self._options.confidential_node:
            return Finding.not_applicable(check, f"there is no {node}, and containers don't get it")
        fix = (
            "install a TEE OS and a driver with confidential containers; in a container mount the "
            "node's /dev below --host-root"
        )
        return Finding.failed(check, f"there is no {node}, which only a confidential OS has", fix)

    def _teecd(self) -> Finding:
        check, socket = "teecd", Path(teecd.SOCKET)
        if self._reached:
            return Finding.ok(check, "it admitted the plugin")
        if problem := teecd.problem_of_connecting(socket):
            return Finding.failed(check, problem, teecd.START)
        if self._told.get("step") != INITIALIZE:
            return Finding.ok(check, f"it listens at {socket}")
        error = self._error() or TimedOut(
            f"{INITIALIZE} did not return", fix=results.FIXES[TimedOut]
        )
        error = teecd.explain_login(error, self._told, self._said)
        return Finding.failed(check, str(error), error.fix)

    def _identity(self) -> Finding:
        check, path, user = "identity", self._options.identity, self._options.user
        who = f"{path} as {user}"
        if self._problem == "identity":
            return Finding.failed(check, self._told["words"], PROBLEMS["identity"][1])
        if results.is_refusal(self._told) and (error := self._error()):
            return Finding.failed(check, f"{who}: {error}", error.fix)
        if self._answered:
            return Finding.ok(check, f"{who} is admitted")
        return Finding.ok(check, f"{who}; unknown whether the TA admits it")

    def _user(self) -> Finding:
        check, uid, meant = "user", os.geteuid(), self._options.user
        name = passwd_name(uid)
        if name is None:
            text = f"/etc/passwd has no entry for uid {uid}"
            return Finding.failed(check, text, PROBLEMS["nobody"][1])
        if name != meant:
            text = f"uid {uid} is {name} in /etc/passwd, not {meant}"
            return Finding.failed(check, text, PROBLEMS["user"][1])
        return Finding.ok(check, f"uid {uid} is {name} in /etc/passwd")

    def _application_file(self) -> Finding:
        check, path, uuid = "trusted-application", Path(self._options.ta_file), self._options.uuid
        if self._answered:
            return Finding.ok(check, f"{path} answers")
        if problem := files.problem_of_application(path):
            fix = (
                "put the signed file of this UUID there, readable by the plugin, or name it "
                "with --backend-option ta-path="
            )
            return Finding.failed(check, f"{path} {problem}", fix)
        if self._result in results.OF_THE_APPLICATION and (error := self._error()):
            return Finding.failed(check, f"{path}, {error}", error.fix)
        if path.resolve().stem.lower() != uuid:
            text = f"{path} has another name than the configured UUID, {uuid}"
            fix = "give --backend-option uuid= with the UUID of the file, or the file of this UUID"
            return Finding.warning(check, text, fix)
        return Finding.ok(check, f"{path} exists; unknown whether it answers")

    def _versions(self) -> Finding:
        check, told = "versions", self._told
        parts = {"TEE OS": told.get("tee-os"), "driver": told.get("driver")}
        if known := [f"{part} {version}" for part, version in parts.items() if version]:
            return Finding.ok(check, ", ".join(known))
        text = told.get("no-versions") or (
            f"there is no {LOG_NODE} here" if self._answered else _NOT_SO_FAR
        )
        return Finding.not_applicable(check, f"{text}: the versions are unknown")

    def _long_calls(self) -> Finding:
        """Name who was in the TEE for over 10 s, by the driver's lines in the kernel's log."""
        check = "long-calls"
        try:
            calls = usage.long_calls(usage.KERNEL_LOG, time.monotonic())
        except OSError as error:
            text = f"{usage.KERNEL_LOG} can't be read ({error.strerror})"
            fix = "run on the node:\ndmesg | grep cmd_monitor_tick"
            return Finding.not_applicable(check, text, fix)
        recent = [call for call in calls if call.ago_seconds < _RECENT_SECONDS]
        if not recent:
            return Finding.ok(check, "no process was in the TEE for over 10 s in the last hour")
        text = "in the TEE for over 10 s: " + ", ".join(
            f"{call.name} (process {call.pid}, {call.ago_seconds:.0f} s ago)"
            for call in recent[-_MOST_CALLS:]
        )
        if self._answered:
            return Finding.ok(check, text)
        fix = (
            "see the TEE's own log of that time, /var/log/tee/last_teemsg, and end these processes"
        )
        return Finding.warning(check, text, fix)

    # ---- OP-TEE

    def _device(self) -> Finding:
        check, device = "device", self._options.device
        if self._reached:
            return Finding.ok(check, "the library has opened it")
        if not os.path.lexists(device):
            fix = (
                "load the kernel's driver optee; a container needs the device, and must be "
                "privileged to open it; if it has another name: --backend-option device="
            )
            return Finding.failed(check, f"there is no {device}", fix)
        if self._told.get("failed") == INITIALIZE:
            fix = (
                "run the plugin as root; a container must also be privileged, or the kernel denies "
                "opening the device node"
            )
            return Finding.failed(check, f"{device} exists, but can't be opened", fix)
        return Finding.ok(check, f"{device} is there")

    def _supplicant(self) -> Finding:
        check, node = "supplicant", self._on_node(_SUPPLICANT_NODE)
        if files.process_runs(_SUPPLICANT):
            return Finding.ok(check, f"{_SUPPLICANT} runs")
        if not os.path.lexists(node):
            fix = (
                f"install and start {_SUPPLICANT} on the node: the plugin doesn't need it, but "
                "pods need it to load trusted applications"
            )
            return Finding.warning(check, f"there is no {node}", fix)
        if files.sees_all_processes():
            text = f"{_SUPPLICANT} doesn't run: opening a TA that isn't loaded hangs until it does"
            fix = f"start it again, and find out why it ended:\nsystemctl restart {_SUPPLICANT}"
            return Finding.warning(check, text, fix)
        text = f"{node} exists; doctor can't see whether {_SUPPLICANT} runs"
        fix = f"run on the node:\nsystemctl status {_SUPPLICANT}"
        return Finding.not_applicable(check, text, fix)

    def _pseudo_application(self) -> Finding:
        check = "trusted-application"
        if self._answered:
            return Finding.ok(check, "the statistics pseudo-TA answers")
        of_it = self._reached and self._result in results.OF_THE_APPLICATION
        if of_it and (error := self._error()):
            return Finding.failed(check, str(error), error.fix)
        if self._told.get("step") == OPEN and not self._told.keys() & {"result", "words"}:
            late = timed_out(self._told, OPEN)
            return Finding.failed(check, str(late), late.fix)
        return Finding.not_applicable(check, _NOT_SO_FAR)

    def _pools(self) -> Iterator[Finding]:
        """Tell what units can't show: OP-TEE's own heap, and the end of the pool."""
        if heap := heap_of(self._told):
            check, text = "heap", str(heap)
            yield (
                Finding.ok(check, text) if heap.is_enough else Finding.failed(check, text, HEAP_FIX)
            )
        if self._answered and self._told["free"].isdecimal():
            free_bytes = int(self._told["free"])
            text = f"{free_bytes // 1024} KiB are free, the last {_POOL_END // 1024} KiB in pieces"
            if free_bytes > _POOL_END:
                yield Finding.ok("pool-end", text)
                return
            text += ": a trusted application of 1 MiB may be refused, although units are healthy"
            fix = "end trusted applications, or increase --reserve by 2MiB"
            yield Finding.warning("pool-end", text, fix)

    # ---- what the helper told

    @property
    def _result(self) -> int | None:
        return results.result_of(self._told)

    def _error(self) -> TeeError | None:
        """The error that follows, where a call failed."""
        if self._result is None or self._vendor is None:
            return None
        step, origin = self._told["failed"], int(self._told["origin"])
        return results.error_of(self._vendor, step, self._result, origin, said=self._said)

    def _on_node(self, path: str) -> Path:
        return self._host_root / path.lstrip("/")
