"""What doctor says of CDI and of the TEE's limits."""

from collections.abc import Mapping
from typing import Any

import pytest

from teeplugin.commands.doctor.evidence import LimitsTold
from teeplugin.policy.cdi_spec import Mismatch
from teeplugin_backends.base import Result
from tests.doctoring import MIB, answer, broken, judged, page, warned

ON = ("cdi", "on")


def limits(**changes: Any) -> Any:
    well: dict[str, Any] = {
        "limited": 2,
        "unset": 0,
        "unrecorded": 0,
        "groups": 2,
        "groups_max": 63,
        "last_reconcile": "2027-01-15T08:00:00Z",
        "reconcile_problem": None,
    }
    return page(limits=LimitsTold(**(well | changes)))


def test_without_cdi_there_is_nothing_to_look_at() -> None:
    for check in ("cdi", "limits"):
        assert judged().of(check).result is Result.NOT_APPLICABLE


def test_a_specification_that_fits_and_limits_that_hold_are_ok() -> None:
    report = judged(ON, answer=answer(limited_containers=63), page=limits())
    assert report.of("cdi").text == (
        "/etc/cdi/tee-device-plugin.json fits the settings, and limits containers"
    )
    assert report.of("limits").text == "2 containers are limited, 2 of 63 groups used"
    assert report.failures == ()


def test_a_tee_that_limits_nobody_is_named_as_such() -> None:
    report = judged(ON)
    assert report.of("cdi").text.endswith("and limits no containers")
    assert report.of("limits").result is Result.NOT_APPLICABLE


def test_a_specification_that_does_not_fit_is_broken() -> None:
    problem = Mismatch("/etc/cdi/x has no device for 9 units", "write it anew")
    assert broken(judged(ON, specification=problem), "cdi", "no device for 9") == "write it anew"


def test_more_units_than_amounts_would_end_the_plugin() -> None:
    report = judged(ON, answer=answer(total=2048 * MIB, free=2048 * MIB))
    assert "-precision 2048" in broken(report, "precision", "makes 4096 units")
    assert report.exit_status == 2


@pytest.mark.parametrize(
    ("changes", "words", "fix"),
    [
        ({"unset": 1}, "removed the limits of 1", "journalctl -u tee-limit"),
        ({"unrecorded": 3}, "3 hold units and have no TEE access", "runtime with CDI"),
    ],
)
def test_containers_without_a_limit_are_a_failure(
    changes: Mapping[str, Any], words: str, fix: str
) -> None:
    assert fix in broken(judged(ON, page=limits(**changes)), "limits", words)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"last_reconcile": None}, "the host service has never run"),
        ({"reconcile_problem": "teecd is not running"}, "the host service: teecd is not running"),
    ],
)
def test_a_service_that_does_not_run_is_a_warning(changes: Mapping[str, Any], words: str) -> None:
    fix = warned(judged(ON, page=limits(**changes)), "limits", words)
    assert "systemctl status tee-limit.path" in fix
