"""The C ABI of both vendors' libteec: structures, constants, signatures; for client and results.

One layout for x86-64 and aarch64, but two for the vendors: an operation laid out the other one's
way is answered with SUCCESS and wrong numbers. The helper loads this file at every query, so it
imports ctypes and nothing else.
"""

from ctypes import (
    POINTER,
    Structure,
    Union,
    c_bool,
    c_char,
    c_char_p,
    c_int32,
    c_size_t,
    c_uint8,
    c_uint16,
    c_uint32,
    c_uint64,
    c_void_p,
)

TYPE_CHECKING = False  # typing's own costs the helper 10 ms
if TYPE_CHECKING:
    from typing import Any

    Signatures = dict[str, tuple[Any, tuple[Any, ...]]]

ITRUSTEE, OPTEE = "itrustee", "optee"

# ---- constants of both

SUCCESS = 0

NONE = 0
VALUE_INPUT, VALUE_OUTPUT = 1, 2
MEMREF_TEMP_OUTPUT = 6

ORIGIN_API, ORIGIN_COMMS, ORIGIN_TEE, ORIGIN_TRUSTED_APP = 1, 2, 3, 4

LOGIN_PUBLIC = 0
LOGIN_IDENTIFY = 7
"""iTrustee only: the driver finds out by itself who the client is."""

PARAMETERS = 4


def param_types(p0: int = NONE, p1: int = NONE, p2: int = NONE, p3: int = NONE) -> int:
    """Pack the four parameters' types as TEEC_PARAM_TYPES does."""
    return p0 | p1 << 4 | p2 << 8 | p3 << 12


# ---- results

ERROR_GENERIC = 0xFFFF0000
ERROR_ACCESS_DENIED = 0xFFFF0001
ERROR_CANCEL = 0xFFFF0002
ERROR_ACCESS_CONFLICT = 0xFFFF0003
ERROR_EXCESS_DATA = 0xFFFF0004
ERROR_BAD_FORMAT = 0xFFFF0005
ERROR_BAD_PARAMETERS = 0xFFFF0006
ERROR_BAD_STATE = 0xFFFF0007
ERROR_ITEM_NOT_FOUND = 0xFFFF0008
ERROR_NOT_IMPLEMENTED = 0xFFFF0009
ERROR_NOT_SUPPORTED = 0xFFFF000A
ERROR_NO_DATA = 0xFFFF000B
ERROR_OUT_OF_MEMORY = 0xFFFF000C
ERROR_BUSY = 0xFFFF000D
ERROR_COMMUNICATION = 0xFFFF000E
ERROR_SECURITY = 0xFFFF000F
ERROR_SHORT_BUFFER = 0xFFFF0010
ERROR_TARGET_DEAD = 0xFFFF3024

# iTrustee's own.
ERROR_SERVICE_NOT_EXIST = 0x2
ERROR_SESSION_MAXIMUM = 0x4
ERROR_TRUSTED_APP_LOAD_ERROR = 0xD
ERROR_SIGNATURE_INVALID = 0xFFFF3072
ERROR_GTASK_DEAD = 0xFFFF3124
FAIL = 0xFFFF5002
ERROR_IPC_OVERFLOW = 0xFFFF9114
ERROR_CA_AUTH_FILE = 0xFFFF9116
ERROR_CA_CALLER_ACCESS_DENIED = 0xFFFF9117
ERROR_TEE_REBOOTING = 0xFFFFABAB
ERROR_CA_AUTH_FAIL = 0xFFFFCFE5


# ---- structures of both


class UUID(Structure):
    """TEEC_UUID."""

    _fields_ = (
        ("timeLow", c_uint32),
        ("timeMid", c_uint16),
        ("timeHiAndVersion", c_uint16),
        ("clockSeqAndNode", c_uint8 * 8),
    )

    @classmethod
    def parse(cls, text: str) -> "UUID":
        """Read `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`, already known to be one."""
        digits = text.replace("-", "")
        node = bytes.fromhex(digits[16:])
        return cls(
            int(digits[:8], 16), int(digits[8:12], 16), int(digits[12:16], 16), (c_uint8 * 8)(*node)
        )


class Value(Structure):
    """TEEC_Value."""

    _fields_ = (("a", c_uint32), ("b", c_uint32))


class MemoryReply(Structure):
    """What command 0 of our trusted application writes: both in units that p3.a names in bytes."""

    _fields_ = (("total", c_uint64), ("free", c_uint64))


# ---- iTrustee


class ListNode(Structure):
    """The library's own list, linked by address: what holds one must not move."""

    _fields_ = (("next", c_void_p), ("prev", c_void_p))


class ItrusteeShareBuffer(Structure):
    """The library's own; its semaphore is a sem_t."""

    _fields_ = (("buffer", c_void_p), ("buffer_barrier", c_uint64 * 4))


class ItrusteeContext(Structure):
    """TEEC_Context of iTrustee; TEEC_InitializeContext resets `ta_path`."""

    _fields_ = (
        ("fd", c_int32),
        ("ta_path", c_char_p),
        ("session_list", ListNode),
        ("shrd_mem_list", ListNode),
        ("share_buffer", ItrusteeShareBuffer),
    )


class ItrusteeSession(Structure):
    """TEEC_Session of iTrustee."""

    _fields_ = (
        ("session_id", c_uint32),
        ("service_id", UUID),
        ("ops_cnt", c_uint32),
        ("list", ListNode),
        ("context", POINTER(ItrusteeContext)),
    )


class ItrusteeTempMemoryReference(Structure):
    """TEEC_TempMemoryReference of iTrustee: its size is a uint32."""

    _fields_ = (("buffer", c_void_p), ("size", c_uint32))


class ItrusteeRegisteredMemoryReference(Structure):
    """TEEC_RegisteredMemoryReference of iTrustee."""

    _fields_ = (("parent", c_void_p), ("size", c_uint32), ("offset", c_uint32))


class ItrusteeParameter(Union):
    """TEEC_Parameter of iTrustee: 16 bytes."""

    _fields_ = (
        ("tmpref", ItrusteeTempMemoryReference),
        ("memref", ItrusteeRegisteredMemoryReference),
        ("value", Value),
    )


class ItrusteeOperation(Structure):
    """TEEC_Operation of iTrustee: 88 bytes; `started` must not be 0."""

    _fields_ = (
        ("started", c_uint32),
        ("paramTypes", c_uint32),
        ("params", ItrusteeParameter * PARAMETERS),
        ("session", POINTER(ItrusteeSession)),
        ("cancel_flag", c_bool),
    )


# ---- OP-TEE


class OpteeContext(Structure):
    """TEEC_Context of OP-TEE."""

    _fields_ = (("fd", c_int32), ("reg_mem", c_bool), ("memref_null", c_bool))


class OpteeSession(Structure):
    """TEEC_Session of OP-TEE."""

    _fields_ = (("ctx", POINTER(OpteeContext)), ("session_id", c_uint32))


class OpteeTempMemoryReference(Structure):
    """TEEC_TempMemoryReference of OP-TEE: its size is a size_t."""

    _fields_ = (("buffer", c_void_p), ("size", c_size_t))


class OpteeRegisteredMemoryReference(Structure):
    """TEEC_RegisteredMemoryReference of OP-TEE."""

    _fields_ = (("parent", c_void_p), ("size", c_size_t), ("offset", c_size_t))


class OpteeParameter(Union):
    """TEEC_Parameter of OP-TEE: 24 bytes."""

    _fields_ = (
        ("tmpref", OpteeTempMemoryReference),
        ("memref", OpteeRegisteredMemoryReference),
        ("value", Value),
    )


class OpteeOperation(Structure):
    """TEEC_Operation of OP-TEE: 112 bytes."""

    _fields_ = (
        ("started", c_uint32),
        ("paramTypes", c_uint32),
        ("params", OpteeParameter * PARAMETERS),
        ("session", POINTER(OpteeSession)),
    )


class OpteeStatistics56(Structure):
    """The statistics pseudo-TA's record of one pool up to OP-TEE 4.5."""

    _fields_ = (
        ("desc", c_char * 32),
        ("allocated", c_uint32),
        ("max_allocated", c_uint32),
        ("size", c_uint32),
        ("num_alloc_fail", c_uint32),
        ("biggest_alloc_fail", c_uint32),
        ("biggest_alloc_fail_used", c_uint32),
    )


class OpteeStatistics64(Structure):
    """The same from OP-TEE 4.6 on."""

    _fields_ = (
        ("desc", c_char * 32),
        ("free2_sum", c_uint64),
        ("allocated", c_uint32),
        ("max_allocated", c_uint32),
        ("size", c_uint32),
        ("num_alloc_fail", c_uint32),
        ("biggest_alloc_fail", c_uint32),
        ("biggest_alloc_fail_used", c_uint32),
    )


# ---- functions

_RESULT, _NOTHING = c_uint32, None


def _signatures(context: type, session: type, operation: type) -> "Signatures":
    """Return each function's result type and argument types, with one vendor's structures.

    Both are always given: ctypes would otherwise read 0xFFFF0008 as −65528 and cut pointers. A
    structure of the other vendor's is refused with ctypes.ArgumentError.
    """
    a_context: Any = POINTER(context)
    a_session: Any = POINTER(session)
    an_operation: Any = POINTER(operation)
    an_origin: Any = POINTER(c_uint32)
    return {
        "TEEC_InitializeContext": (_RESULT, (c_char_p, a_context)),
        "TEEC_OpenSession": (
            _RESULT,
            # context, session, destination, method, data, operation, origin
            (a_context, a_session, POINTER(UUID), c_uint32, c_void_p, an_operation, an_origin),
        ),
        # session, command, operation, origin
        "TEEC_InvokeCommand": (_RESULT, (a_session, c_uint32, an_operation, an_origin)),
        "TEEC_CloseSession": (_NOTHING, (a_session,)),
        "TEEC_FinalizeContext": (_NOTHING, (a_context,)),
    }


SIGNATURES = {
    ITRUSTEE: _signatures(ItrusteeContext, ItrusteeSession, ItrusteeOperation),
    OPTEE: _signatures(OpteeContext, OpteeSession, OpteeOperation),
}
"""What is called in each vendor's library."""

ITRUSTEE_SYMBOLS = ("TEEC_EXT_RegisterAgent", "TEEC_SendSecfile")
OPTEE_SYMBOLS = ("TEEC_RegisterSharedMemoryFileDescriptor",)
"""What only the one vendor's library exports: both are called libteec.so."""
