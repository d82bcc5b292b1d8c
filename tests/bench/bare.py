"""A process that does nothing but load what was ordered: what a start can't be shorter than."""

import subprocess
import sys
import tempfile
from time import monotonic
from typing import NamedTuple

from tests.bench.errors import BenchError
from tests.usage import Usage

# grpclib on h2, betterproto2, anyio with the backend that it loads when it is run, structlog
# without the rich that it would load where it finds it, and one model of pydantic's.
_PROGRAM = """\
import sys
sys.modules["rich"] = None
import anyio, anyio._backends._asyncio
import betterproto2, grpclib.client, grpclib.server, h2.connection, structlog
import pydantic

class Model(pydantic.BaseModel):
    precision: int = 512

Model()
print("ready", flush=True)
sys.stdin.read()
"""


class Bare(NamedTuple):
    """What one start took, and the memory of the process then."""

    start_ms: float
    rss_mb: float


def start() -> Bare:
    """Start it once, and end it.

    Raises:
        BenchError: a library is missing.
    """
    began = monotonic()
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=tempfile.gettempdir(),
    ) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        taken_ms = (monotonic() - began) * 1000
        if said != b"ready\n":
            raise BenchError("the bare process failed: see its error above")
        bare = Bare(taken_ms, Usage.of(process.pid).rss_mb)
        process.communicate()
    return bare
