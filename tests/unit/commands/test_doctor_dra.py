"""Doctor where the plugin is a DRA driver: the slice, and what has no meaning there."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from teeplugin.commands.doctor.evidence import SliceTold
from teeplugin.commands.doctor.examine import examine
from teeplugin.commands.doctor.kubelet_records import look_at_records
from teeplugin.commands.doctor.model import Report
from teeplugin.config.settings import Settings
from teeplugin_backends.base import Result
from tests.doctoring import MIB, evidence, page

WELL = SliceTold("n-tee-ram.huawei.com", 64 * MIB, (), None, None)
DRA = ("serve", "dra")


def judged(told: SliceTold | None, **changes: Any) -> Report:
    return examine(evidence(DRA, page=page(published=told), **changes))


def test_where_all_is_well_the_slice_is_named() -> None:
    report = judged(WELL)
    assert not report.failures
    finding = report.of("slice")
    assert (finding.result, finding.text) == (Result.OK, "n-tee-ram.huawei.com has 64 MiB")
    assert report.of("kubelet-socket").result is Result.NOT_APPLICABLE
    assert report.of("registration").text == "the kubelet has the DRA driver registered"


@pytest.mark.parametrize(
    ("told", "result", "words"),
    [
        (replace(WELL, problem="gate X: enable it"), Result.FAILED, "gate X: enable it"),
        (replace(WELL, api_error="403: denied"), Result.FAILED, "403: denied"),
        (replace(WELL, published_bytes=None), Result.NOT_APPLICABLE, "has not answered"),
        (replace(WELL, taints=("t/fault",)), Result.WARNING, "and is tainted: t/fault"),
        (None, Result.FAILED, "serves devices, not claims"),
    ],
)
def test_what_is_wrong_with_the_slice_is_told(
    told: SliceTold | None, result: Result, words: str
) -> None:
    finding = judged(told).of("slice")
    assert finding.result is result
    assert words in finding.text
    assert finding.fix or result is Result.NOT_APPLICABLE


def test_a_device_plugin_has_no_slice() -> None:
    checks = {line.finding.check for line in examine(evidence()).lines}
    assert "slice" not in checks


@pytest.mark.anyio
async def test_records_are_read_by_claims(tmp_path: Path) -> None:
    seen = await look_at_records(tmp_path / "none", Settings(serve="dra"))
    assert seen.error == "is missing"
    assert seen.listed is None
