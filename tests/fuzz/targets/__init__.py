"""All targets, by name: one module for each side that the bytes come from."""

from collections.abc import Mapping

from tests.fuzz.target import Target
from tests.fuzz.targets import connection, http, kubelet, settings, simulator, sizing, tee

TARGETS: Mapping[str, Target] = {
    target.name: target
    for module in (kubelet, connection, settings, sizing, tee, simulator, http)
    for target in module.TARGETS
}
