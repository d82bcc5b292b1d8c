"""Claims beside the largest amount of the CDI specification, on a TEE that has more units."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from teeplugin.policy.cdi import MOST_AMOUNTS
from tests.cluster.dra_lab import (
    claimant,
    device,
    published,
    refused_because,
    template,
    units_in,
    waits_because,
)
from tests.cluster.lab import Lab
from tests.cluster.pods import phase
from tests.plugin_process import Plugin

UNITS = 2 * MOST_AMOUNTS + 2
MOST, OVER = "1Gi", "1048577Ki"


@pytest.fixture
def plugin(lab: Lab, tmp_path: Path) -> Iterator[Plugin]:
    with published(lab, tmp_path, MOST_AMOUNTS, units=UNITS) as one:
        yield one


def test_the_largest_amount_runs_and_a_larger_claim_is_never_scheduled(
    lab: Lab, plugin: Plugin
) -> None:
    policy = device(lab)["capacity"]["memory"]["requestPolicy"]
    assert policy["validRange"]["max"] == MOST
    lab.run_pod(claimant(lab, "most", MOST))
    assert units_in(lab, "most") == str(MOST_AMOUNTS)
    lab.delete_pod("most")
    lab.apply(claimant(lab, "over", OVER))
    print(waits_because(lab, "over", "cannot allocate all claims"))
    assert phase(lab.get("pod", "over")) == "Pending"
    assert plugin.count("claim_not_prepared") == 0


def two_requests(name: str) -> dict[str, Any]:
    """A template of a claim that asks twice, each time for as much as there may be."""
    made = template(name, MOST)
    requests = made["spec"]["spec"]["devices"]["requests"]
    requests.append(requests[0] | {"name": "more"})
    return made


def test_requests_that_exceed_it_together_are_refused_with_value_rule_and_fix(
    lab: Lab, plugin: Plugin
) -> None:
    """The scheduler sees them one by one."""
    pod = claimant(lab, "twice", MOST)
    lab.kubectl("delete", "resourceclaimtemplate", "twice")
    lab.apply(two_requests("twice"))
    lab.apply(pod)
    told = refused_because(lab, "twice")
    print(told)
    words = f"the claim has {2 * MOST_AMOUNTS} units: a container gets at most {MOST_AMOUNTS}"
    assert words in told
    assert "request less, or give the plugin a larger -precision" in told
    (event,) = plugin.events("claim_not_prepared")
    assert words in event["error"]
