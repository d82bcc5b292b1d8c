"""Asks the TEE through libteec: opens, invokes and closes for each query.

Nothing is held across a restart of the TEE or of its daemon. The helper loads this file at every
query: it imports ctypes and abi, and nothing else.
"""

from ctypes import (
    CDLL,
    POINTER,
    Structure,
    addressof,
    byref,
    c_char_p,
    c_int,
    c_uint32,
    c_void_p,
    sizeof,
)

from teeplugin_backends.libteec import abi

TYPE_CHECKING = False  # typing's own costs the helper 10 ms
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ITRUSTEE, OPTEE = abi.ITRUSTEE, abi.OPTEE
VENDORS = {ITRUSTEE: abi.ITRUSTEE_SYMBOLS, OPTEE: abi.OPTEE_SYMBOLS}

OPTEE_STATISTICS_UUID = "d96a5b40-e2c7-b1af-8794-1002a5d5c61b"
OPTEE_TA_RAM_POOL = 3
OPTEE_HEAP_POOL = 1
"""OP-TEE's own heap, of which each instance of a trusted application takes a part as well."""

_OUR_MEMORY_COMMAND = 0
_OPTEE_ALLOCATION_COMMAND = 1

INITIALIZE, OPEN = "TEEC_InitializeContext", "TEEC_OpenSession"
"""The library connects to its daemon and logs in during the first; no later call waits for that."""

_MAX_BYTES = 2**64 - 1

LOG_NAME = "libteec"
_LOG_PERROR, _LOG_USER = 0x20, 1 << 3
_log_name = LOG_NAME.encode()
"""The C library keeps the pointer that openlog is given: this stays alive and in place."""


class LibraryError(Exception):
    """The library can't be used; `problem` is the name of the reason."""

    def __init__(self, problem: str, message: str) -> None:
        super().__init__(message)
        self.problem = problem


class CallError(Exception):
    """A call's result is not SUCCESS; `origin` is 0 where the call tells none."""

    def __init__(self, step: str, result: int, origin: int) -> None:
        super().__init__(step, result, origin)
        self.step, self.result, self.origin = step, result, origin


class ReplyError(Exception):
    """All calls succeeded, and what they left can't be true."""


# ---- the library


def hear_library() -> None:
    """Have the library's words, which it gives to syslog only, go to standard error as well."""
    openlog = CDLL(None).openlog
    openlog.restype, openlog.argtypes = None, (c_char_p, c_int, c_int)
    openlog(_log_name, _LOG_PERROR, _LOG_USER)


class Library:
    """A loaded libteec and whose it is; `note` is told of each call, since it may not return."""

    def __init__(self, dll: CDLL, vendor: str, note: "Callable[[str], None]") -> None:
        self.vendor = vendor
        self._note = note
        self._functions = {}
        for name, (result, arguments) in abi.SIGNATURES[vendor].items():
            if not hasattr(dll, name):
                raise LibraryError("symbol", f"the library exports no {name}")
            function = dll[name]
            function.restype, function.argtypes = result, arguments
            self._functions[name] = function

    def call(self, name: str, *arguments: object, origin: c_uint32 | None = None) -> None:
        """Call, and raise unless it succeeds.

        Raises:
            CallError: it didn't.
        """
        self._note(name)
        tail = () if origin is None else (byref(origin),)
        result = self._functions[name](*arguments, *tail)
        if result != abi.SUCCESS:
            raise CallError(name, result, origin.value if origin else 0)

    def close(self, name: str, argument: object) -> None:
        """Call one of the functions that have no result."""
        self._note(name)
        self._functions[name](argument)


def load(names: "Sequence[str]", vendor: str | None, tell: "Callable[[str, str], None]") -> Library:
    """Load the first library there is; `vendor` None means: tell by its symbols.

    What is done is told as `step` before it is done, and which file was loaded as `library`.

    Raises:
        LibraryError: none can be loaded, or it isn't what is meant.
    """
    problems: dict[str, dict[str, None]] = {}
    for name in names:
        tell("step", f"dlopen {name}")
        try:
            dll = CDLL(name)
        except OSError as error:
            # The loader names the file that it lacks, which may be one that the library needs.
            lacking, _, reason = str(error).partition(": ")
            problems.setdefault(reason, {})[lacking] = None
        else:
            tell("library", _path_of(dll) or name)
            return Library(dll, _vendor(dll, name, vendor), lambda step: tell("step", step))
    told = (f"{', '.join(files)}: {reason}" for reason, files in problems.items())
    raise LibraryError("library", "; ".join(told))


class _LinkMap(Structure):
    """The beginning of the loader's own record of a library."""

    _fields_ = (("address", c_void_p), ("name", c_char_p))


_RTLD_DI_LINKMAP = 2


def _path_of(dll: CDLL) -> str:
    """Ask the loader which file it took; empty where it doesn't tell."""
    dlinfo = getattr(CDLL(None), "dlinfo", None)
    if dlinfo is None:
        return ""
    record = POINTER(_LinkMap)()
    dlinfo.argtypes = (c_void_p, c_int, c_void_p)
    handle = dll._handle  # noqa: SLF001 - ctypes' own name for it, in its documentation
    if dlinfo(handle, _RTLD_DI_LINKMAP, byref(record)) != 0:
        return ""
    return (record.contents.name or b"").decode("utf-8", "surrogateescape")


def _vendor(dll: CDLL, name: str, meant: str | None) -> str:
    found = [
        vendor for vendor, symbols in VENDORS.items() if any(hasattr(dll, each) for each in symbols)
    ]
    if meant is None and len(found) != 1:
        whose = "both iTrustee's and OP-TEE's" if found else "neither iTrustee's nor OP-TEE's"
        raise LibraryError("vendor", f"by its symbols {name} is {whose}")
    if meant is not None and found and meant not in found:
        raise LibraryError("vendor", f"{name} is {found[0]}'s library, not {meant}'s")
    return meant or found[0]


# ---- the two ways to ask


class ItrusteeQuery:
    """Our trusted application's command 0.

    The library links session and context by address: all of this object's memory stays alive and
    in place until the context is finalized.
    """

    login = abi.LOGIN_IDENTIFY
    command = _OUR_MEMORY_COMMAND

    def __init__(self, uuid: str, ta_path: bytes) -> None:
        self.uuid = abi.UUID.parse(uuid)
        self.context, self.session = abi.ItrusteeContext(), abi.ItrusteeSession()
        # The login overwrites p2 and p3 of the operation it is given: it gets one of its own.
        self.opening, self.operation = (abi.ItrusteeOperation(started=1) for _ in range(2))
        self.operation.paramTypes = abi.param_types(abi.MEMREF_TEMP_OUTPUT, p3=abi.VALUE_OUTPUT)
        self._reply = abi.MemoryReply()
        self.operation.params[0].tmpref.buffer = addressof(self._reply)
        self.operation.params[0].tmpref.size = sizeof(self._reply)
        self._ta_path = ta_path

    def prepare_context(self) -> None:
        """Name the trusted application's file: TEEC_InitializeContext would have reset it."""
        self.context.ta_path = self._ta_path

    def more_operations(self) -> "tuple[abi.ItrusteeOperation, ...]":
        """Nothing more is asked."""
        return ()

    def reading(self) -> tuple[int, int]:
        """The total and free bytes that were answered."""
        return accept_reply(
            returned_bytes=self.operation.params[0].tmpref.size,
            total=self._reply.total,
            free=self._reply.free,
            unit_bytes=self.operation.params[3].value.a,
        )


class OpteeQuery:
    """The statistics pseudo-TA, which is part of OP-TEE: the pool that TAs' memory is from."""

    login = abi.LOGIN_PUBLIC
    command = _OPTEE_ALLOCATION_COMMAND

    def __init__(self) -> None:
        self.uuid = abi.UUID.parse(OPTEE_STATISTICS_UUID)
        self.context, self.session = abi.OpteeContext(), abi.OpteeSession()
        self.opening = abi.OpteeOperation()
        self.operation, self._record = _asks_for_pool(OPTEE_TA_RAM_POOL)
        self._heap, self._heap_record = _asks_for_pool(OPTEE_HEAP_POOL)

    def prepare_context(self) -> None:
        """Nothing: there is no file to name."""

    def more_operations(self) -> tuple[abi.OpteeOperation, ...]:
        """Ask for OP-TEE's own heap."""
        return (self._heap,)

    def reading(self) -> tuple[int, int]:
        """The total and free bytes that were answered."""
        returned_bytes = self.operation.params[1].tmpref.size
        return accept_statistics(bytes(self._record), returned_bytes)

    def heap(self) -> tuple[int, int] | None:
        """The bytes of OP-TEE's own heap, and those free; None where it told none."""
        try:
            return accept_statistics(bytes(self._heap_record), self._heap.params[1].tmpref.size)
        except ReplyError:
            return None


def _asks_for_pool(pool: int) -> tuple[abi.OpteeOperation, abi.OpteeStatistics64]:
    """Make the operation, and the record that it is answered into."""
    operation, record = abi.OpteeOperation(), abi.OpteeStatistics64()
    operation.paramTypes = abi.param_types(abi.VALUE_INPUT, abi.MEMREF_TEMP_OUTPUT)
    operation.params[0].value.a = pool
    operation.params[1].tmpref.buffer = addressof(record)
    operation.params[1].tmpref.size = sizeof(record)
    return operation, record


def ask(library: Library, query: ItrusteeQuery | OpteeQuery) -> tuple[int, int]:
    """Open, invoke, close; the total and free bytes.

    Raises:
        CallError: a call failed; what was opened is closed again all the same.
        ReplyError: they all succeeded, with an answer that can't be true.
    """
    context, session, origin = byref(query.context), byref(query.session), c_uint32()
    library.call(INITIALIZE, None, context)
    try:
        query.prepare_context()
        opening = (query.login, None, byref(query.opening))
        library.call(OPEN, context, session, byref(query.uuid), *opening, origin=origin)
        try:
            invoking = (query.command, byref(query.operation))
            library.call("TEEC_InvokeCommand", session, *invoking, origin=origin)
            for operation in query.more_operations():
                _try_to_invoke(library, session, query.command, byref(operation))
        finally:
            library.close("TEEC_CloseSession", session)
    finally:
        library.close("TEEC_FinalizeContext", context)
    return query.reading()


def _try_to_invoke(library: Library, *arguments: object) -> None:
    """Invoke for what the reading does without."""
    try:
        library.call("TEEC_InvokeCommand", *arguments, origin=c_uint32())
    except CallError:
        return


# ---- what is confirmed


def accept_reply(*, returned_bytes: int, total: int, free: int, unit_bytes: int) -> tuple[int, int]:
    """Turn our trusted application's answer into bytes, if it can be true.

    SUCCESS says little: an operation laid out for the other vendor comes back with it, with the
    right total and free, and with the unit 0. No free memory is a legitimate answer.

    Raises:
        ReplyError: it can't.
    """
    if returned_bytes != sizeof(abi.MemoryReply):
        raise ReplyError(
            f"{returned_bytes} bytes came back, not {sizeof(abi.MemoryReply)}: another trusted "
            "application has this UUID, or another version"
        )
    if unit_bytes == 0:
        raise ReplyError(
            "the unit is 0 bytes: library and plugin lay the operation out differently"
        )
    if total == 0:
        raise ReplyError("the total is 0")
    if free > total:
        raise ReplyError(f"{free} of {total} units are free, more than there are")
    if total * unit_bytes > _MAX_BYTES:
        raise ReplyError(f"{total} units of {unit_bytes} bytes are more than any machine has")
    return total * unit_bytes, free * unit_bytes


def accept_statistics(record: bytes, returned_bytes: int) -> tuple[int, int]:
    """Turn the statistics pseudo-TA's record of the pool into bytes, if it can be true.

    Its fields are uint32 and wrap: a pool of 4 GiB or more is told as its size modulo 4 GiB. That
    is seen here only where the wrapped numbers contradict each other.

    Raises:
        ReplyError: it can't.
    """
    layouts = {sizeof(layout): layout for layout in (abi.OpteeStatistics56, abi.OpteeStatistics64)}
    if returned_bytes not in layouts:
        known = " or ".join(map(str, layouts))
        raise ReplyError(f"a record of {returned_bytes} bytes came back, not of {known}")
    pool = layouts[returned_bytes].from_buffer_copy(record)
    if pool.size == 0:
        raise ReplyError("the pool of TA memory has 0 bytes, or a multiple of 4 GiB")
    if max(pool.allocated, pool.max_allocated) > pool.size:
        raise ReplyError(
            f"{pool.allocated} bytes, at most {pool.max_allocated}, are taken of {pool.size}: "
            "OP-TEE tells a pool of 4 GiB or more modulo 4 GiB"
        )
    return pool.size, pool.size - pool.allocated
