"""What the cluster is given fits the operator's schema, the DaemonSet and the alerts' documents."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from teeplugin.config.validators import split_address
from tests.monitoring.files import (
    FILES,
    MONITORING,
    ROOT,
    expressions,
    manifest,
    readme,
    readme_blocks,
    rules,
)
from tests.monitoring.node import JOB, TARGET
from tests.monitoring.promtool import Promtool

NAMESPACE = "kube-system"
# Of the operator's API, what may be of use here.
MONITOR_FIELDS = {
    *("jobLabel", "podTargetLabels", "podMetricsEndpoints", "selector", "namespaceSelector"),
    *("sampleLimit", "targetLimit", "labelLimit", "labelNameLengthLimit", "labelValueLengthLimit"),
}
ENDPOINT_FIELDS = {
    *("port", "path", "scheme", "params", "interval", "scrapeTimeout", "tlsConfig", "basicAuth"),
    *("honorLabels", "honorTimestamps", "metricRelabelings", "relabelings", "proxyUrl"),
}
RELABELING_FIELDS = {
    *("sourceLabels", "separator", "targetLabel", "regex", "modulus", "replacement", "action"),
}
SEVERITIES = {"critical", "warning", "info"}
_LINK = re.compile(r"\[[^]\n]+\]\(([^)\s]+)\)")


def daemon_set() -> dict[str, Any]:
    text = (ROOT / "deploy" / "tee-device-plugin.yml").read_text(encoding="utf-8")
    (found,) = [each for each in yaml.safe_load_all(text) if each["kind"] == "DaemonSet"]
    assert isinstance(found, dict)
    return found


def anchors() -> set[str]:
    """The anchors of the README's headings, which are of plain words."""
    headings = re.findall(r"^#+ ([\w ]+)$", readme(), re.MULTILINE)
    return {heading.lower().replace(" ", "-") for heading in headings}


def named_block(key: str) -> dict[str, Any]:
    """The README's YAML block that has a key."""
    (found,) = [block for block in map(yaml.safe_load, readme_blocks("yaml")) if key in block]
    assert isinstance(found, dict)
    return found


# The operator's objects


@pytest.mark.parametrize(
    ("name", "kind"),
    [("pod-monitor.yaml", "PodMonitor"), ("prometheus-rule.yaml", "PrometheusRule")],
)
def test_an_object_is_of_the_operators_api_and_in_the_plugins_namespace(
    name: str, kind: str
) -> None:
    written = manifest(name)
    assert written.keys() == {"apiVersion", "kind", "metadata", "spec"}
    assert (written["apiVersion"], written["kind"]) == ("monitoring.coreos.com/v1", kind)
    assert written["metadata"]["namespace"] == NAMESPACE


def test_the_pod_monitor_has_no_fields_but_the_operators() -> None:
    # What the API server doesn't know it drops without a word; rules are read by promtool.
    monitor = manifest("pod-monitor.yaml")["spec"]
    assert monitor.keys() <= MONITOR_FIELDS
    (endpoint,) = monitor["podMetricsEndpoints"]
    assert endpoint.keys() <= ENDPOINT_FIELDS
    for relabeling in endpoint["relabelings"]:
        assert relabeling.keys() <= RELABELING_FIELDS


def test_the_pod_monitor_finds_the_daemon_sets_pods_and_their_port() -> None:
    monitor, pods = manifest("pod-monitor.yaml")["spec"], daemon_set()["spec"]["template"]
    assert daemon_set()["metadata"]["namespace"] == NAMESPACE
    wanted = monitor["selector"]["matchLabels"]
    assert wanted.items() <= pods["metadata"]["labels"].items()
    (endpoint,) = monitor["podMetricsEndpoints"]
    (container,) = pods["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    (listen,) = [flag for flag in container["args"] if flag.startswith("--listen=")]
    assert ports[endpoint["port"]] == split_address(listen.partition("=")[2])[1]
    assert endpoint["path"] == "/metrics"


def test_the_pod_monitor_makes_the_labels_that_alerts_and_dashboard_count_on() -> None:
    monitor, pods = manifest("pod-monitor.yaml")["spec"], daemon_set()["spec"]["template"]
    assert pods["metadata"]["labels"][monitor["jobLabel"]] == JOB
    (endpoint,) = monitor["podMetricsEndpoints"]
    made = {each["targetLabel"] for each in endpoint["relabelings"]}
    # The operator itself makes these of any pod.
    assert made | {"job", "instance", "namespace", "pod"} == TARGET.keys()
    assert endpoint["honorLabels"] is True
    jobs = {job for each in expressions().values() for job in re.findall(r'job=~?"([^"]+)"', each)}
    assert jobs == {JOB}


def test_the_kustomization_takes_every_file_there_is() -> None:
    kustomization = manifest("kustomization.yaml")
    (dashboards,) = kustomization["configMapGenerator"]
    taken = {*kustomization["resources"], *dashboards["files"]}
    there = {path.name for path in FILES.iterdir()}
    assert taken == there - {"kustomization.yaml"}
    assert dashboards["namespace"] == NAMESPACE


# Without the operator


def test_prometheus_takes_the_scrape_configuration_of_the_readme(promtool: Promtool) -> None:
    (job,) = scrape()["scrape_configs"]
    assert job["kubernetes_sd_configs"] == [{"role": "pod", "namespaces": {"names": [NAMESPACE]}}]
    # Debian's promtool was built without this way to find pods; all else is checked.
    checked = {name: value for name, value in job.items() if name != "kubernetes_sd_configs"}
    name = promtool.write("prometheus.yml", {"scrape_configs": [checked]})
    promtool.run("check", "config", "--lint=all", "--lint-fatal", name)


def scrape() -> dict[str, Any]:
    return named_block("scrape_configs")


def test_the_scrape_configuration_of_the_readme_does_what_the_pod_monitor_does() -> None:
    monitor = manifest("pod-monitor.yaml")["spec"]
    (endpoint,) = monitor["podMetricsEndpoints"]
    (job,) = scrape()["scrape_configs"]
    assert job["job_name"] == JOB
    assert job["honor_labels"] is endpoint["honorLabels"]
    assert job["scrape_interval"] == endpoint["interval"]
    assert job.get("metrics_path", "/metrics") == endpoint["path"]
    kept, *made = job["relabel_configs"]
    # The pod monitor's label has the DaemonSet's name; this one is the same with the chart.
    name = daemon_set()["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"]
    assert kept["source_labels"][0] == "__meta_kubernetes_pod_label_app_kubernetes_io_name"
    assert kept["regex"] == f"{name};{endpoint['port']}"
    labels = {each["target_label"]: each["source_labels"] for each in made}
    assert labels.keys() | {"job", "instance"} == TARGET.keys()
    (node,) = endpoint["relabelings"]
    assert labels["node"] == node["sourceLabels"]


# The alerts' words


@pytest.mark.parametrize("alert", rules())
def test_an_alert_has_a_severity_a_summary_a_description_and_a_runbook(alert: str) -> None:
    rule = rules()[alert]
    assert re.fullmatch(r"TeePlugin[A-Z]\w+", alert)
    assert rule["labels"].keys() == {"severity"}
    assert rule["labels"]["severity"] in SEVERITIES
    assert rule["annotations"].keys() == {"summary", "description", "runbook"}
    # A summary is a line in a message; what explains itself ends as a sentence.
    assert len(rule["annotations"]["summary"]) < 100
    assert rule["annotations"]["description"].endswith(".")
    document, _, anchor = rule["annotations"]["runbook"].partition("#")
    assert ROOT / document == MONITORING / "README.md"
    assert anchor == alert.lower()
    assert anchor in anchors()


def test_the_readmes_table_is_of_these_alerts_in_this_order() -> None:
    row = re.compile(r"^\| \[(\w+)\]\(#(\w+)\) \| (\w+) \| .* \| (.*) \|$", re.MULTILINE)
    has_unrecorded = {"m": "min", "h": "h"}
    assert row.findall(readme()) == [
        (
            name,
            name.lower(),
            rule["labels"]["severity"],
            f"{rule['for'][:-1]} {has_unrecorded[rule['for'][-1]]}" if "for" in rule else "at once",
        )
        for name, rule in rules().items()
    ]
    sections = re.findall(r"^### (TeePlugin\w+)$", readme(), re.MULTILINE)
    assert sections == list(rules())


def test_every_link_of_the_readme_leads_somewhere() -> None:
    for link in _LINK.findall(readme()):
        path, _, anchor = link.partition("#")
        assert not path or (MONITORING / path).exists(), link
        assert path or anchor in anchors(), link
