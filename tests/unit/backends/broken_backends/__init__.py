"""Backends that break their promises, each with the checks that it fails; for the kit's tests."""

from tests.unit.backends.broken_backends import leaving, making  # noqa: F401 - what they note is BROKEN
from tests.unit.backends.broken_backends.asking import BlocksTheLoop, NeverEnds
from tests.unit.backends.broken_backends.fake import BROKEN, MEMORY, Right, tee
from tests.unit.backends.broken_backends.remembering import Giving

__all__ = ["BROKEN", "MEMORY", "BlocksTheLoop", "Giving", "NeverEnds", "Right", "tee"]
