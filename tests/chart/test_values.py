"""The chart's values: one table in values.yaml, schema, checks and both languages' pages."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from teeplugin.config.settings import SETTINGS
from tests.chart import pages
from tests.chart.programs import CHART, of_kind, rendered, run_helm, template

VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))


def test_lint_finds_nothing() -> None:
    linted = run_helm("lint", "--strict", str(CHART))
    assert linted.returncode == 0, linted.stdout
    assert "0 chart(s) failed" in linted.stdout + linted.stderr
    assert "WARNING" not in linted.stdout


def defaults() -> Iterator[tuple[str, Any]]:
    """Each value that the schema describes, as its path, with the default that values.yaml has."""
    for path, _ in pages.values(SCHEMA):
        found: Any = VALUES
        for name in path.split("."):
            found = found[name]
        yield path, found


def test_schema_and_values_have_the_same_names_and_defaults() -> None:
    assert dict(defaults()) == {path: node["default"] for path, node in pages.values(SCHEMA)}
    assert VALUES.keys() == SCHEMA["properties"].keys() - {"enabled", "global"}


def test_the_checks_know_the_same_names() -> None:
    text = (CHART / "templates" / "_check.tpl").read_text(encoding="utf-8")
    block = text.partition('define "tee.known" -}}\n')[2].partition("{{- end }}")[0]
    known = {key: set(names.split()) for key, names in yaml.safe_load(block).items()}
    groups: dict[str, set[str]] = {"": {*VALUES, "enabled", "global"}}
    for path, _ in pages.values(SCHEMA):
        *parents, _ = path.split(".")
        node = VALUES
        for depth, parent in enumerate(parents, 1):
            node = node[parent]
            groups[".".join(parents[:depth])] = set(node)
    assert known == groups


def test_the_settings_are_the_plugins() -> None:
    text = (CHART / "templates" / "_check.tpl").read_text(encoding="utf-8")
    known = re.search(r'\$known := list ("precision".*) -}}', text)
    elsewhere = re.search(r"\$elsewhere := dict (.*) -}}", text)
    assert known is not None
    assert elsewhere is not None
    words = re.findall(r'"([^"]+)"', known[1])
    # The chart's own argument.
    assert {*words, *re.findall(r'"([^"]+)"', elsewhere[1])[::2]} == SETTINGS.keys() - {"host-root"}


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: page.name)
def test_the_page_has_the_values_as_the_schema_describes_them(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert pages.regenerated(page) == text, "run: python -m tests.chart.pages"


# Wrong values: what is set, and what the one line says of it: the value, the rule, the fix.
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"language": "fr"}, 'language: "fr" is not allowed; fix: use en, zh'),
    ({"flavour": "sgx"}, 'flavour: "sgx" is not allowed; fix: use itrustee, optee, simulated'),
    ({"flavour": "other"}, "backend: flavour=other needs the name of a backend; fix: set backend"),
    ({"backend": "acme"}, 'backend: "acme" is for flavour=other only; fix: set flavour=other'),
    ({"serve": "claims"}, 'serve: "claims" is not allowed; fix: use device-plugin, dra'),
    ({"flavor": "optee"}, "flavor: there is no such value; fix: use one of affinity, "),
    ({"image": {"name": "x"}}, "image.name: there is no such value; fix: use one of registry, "),
    (
        {"monitoring": {"podMonitor": {"intervall": "30s"}}},
        "monitoring.podMonitor.intervall: there is no such value; fix: use one of enabled, ",
    ),
    ({"resourceName": "tee-ram"}, '"tee-ram" is not a resource name DOMAIN/NAME; fix: use one '),
    ({"resourceName": "kubernetes.io/tee"}, "a domain that belongs to Kubernetes; fix: use a "),
    ({"fullnameOverride": "My_Plugin"}, '"My_Plugin" is not a DNS label of at most 52 charact'),
    ({"image": {"repository": "Tee:1"}}, '"Tee:1" is not a repository; fix: use lower-case '),
    ({"image": {"registry": "https://r.example"}}, "fix: leave out https://"),
    ({"image": {"tag": "sha256:0"}}, '"sha256:0" is not a tag; fix: use letters, digits, dots'),
    ({"image": {"tag": 1.10}}, "is a number, and may not be what was written; fix: write"),
    ({"image": {"digest": "sha256:12"}}, "is not sha256: and 64 hexadecimal digits; fix: copy"),
    ({"image": {"pullPolicy": "always"}}, "is not allowed; fix: use Always, IfNotPresent, Ne"),
    ({"imagePullSecrets": ["regcred"]}, "is not an object with a name; fix: write it as - na"),
    ({"settings": {"precision": 5}}, '"5" is not a whole number from 512 to 1073741824; fix:'),
    ({"settings": {"precision": "1 MB"}}, '"1 MB" is not a whole number from 512 to 107374182'),
    ({"settings": {"health-interval": -1}}, "is not a number of 0 or more; fix: "),
    ({"settings": {"log-format": "xml"}}, '"xml" is not allowed; fix: use text, json'),
    ({"settings": {"listen": ":1"}}, "settings.listen: the chart sets it; fix: use the value te"),
    ({"settings": {"presicion": 1}}, "the plugin has no such setting; fix: use one of precision"),
    ({"settings": {"reserve": "much"}}, '"much" is not a size; fix: use a number with K, M, G'),
    ({"backendOptions": {"flavour": "optee"}}, "the chart sets it; fix: use the value flavour"),
    ({"extraArgs": ["--listen=:1"]}, '"--listen=:1" is set by the chart; fix: remove it'),
    ({"kubelet": {"podResourcesDir": "var/lib"}}, "is not an absolute path of a directory; fix:"),
    ({"kubelet": {"podResourcesDir": "/a/kubelet.sock"}}, "is a socket; fix: name its directory"),
    (
        {"flavour": "simulated", "nodeLibraries": {"enabled": True}},
        "the simulated flavour loads no client library; fix: set nodeLibraries.enabled=false",
    ),
    (
        {"flavour": "optee", "limits": {"enabled": True}},
        "OP-TEE can't limit a container; fix: set limits.enabled=false, or flavour=itrustee",
    ),
    (
        {"limits": {"enabled": True, "remove": True}},
        "limits.remove: excludes limits.enabled; fix: set limits.enabled=false",
    ),
    (
        {"flavour": "other", "backend": "acme", "privileged": True, "limits": {"enabled": True}},
        "privileged: excludes limits.enabled, whose init container asks the TEE without privil",
    ),
    ({"extraVolumes": [{"name": "Acme_X"}]}, '"Acme_X" is no name, or that of another volume;'),
    (
        {"extraVolumes": [{"name": "acme"}], "extraVolumeMounts": [{"name": "acme"}]},
        'extraVolumeMounts: "" is no path, or that of another mount; fix: give another absolute',
    ),
    (
        {
            "extraVolumes": [{"name": "acme"}],
            "extraVolumeMounts": [{"name": "acme", "mountPath": "/host/dev"}],
        },
        'extraVolumeMounts: "/host/dev" is no path, or that of another mount; fix: give another',
    ),
    ({"settings": {"cdi": "on"}}, "settings.cdi: the chart sets it; fix: use the value limits.en"),
    ({"nodeLibraries": {"names": ["/usr/lib/a.so"]}}, "is no file name, or too much like anot"),
    ({"nodeLibraries": {"names": ["config.so"]}}, "is no file name, or too much like another;"),
    ({"nodeLibraries": {"names": ["a.so.1", "a-so.1"]}}, "is no file name, or too much like ano"),
    ({"extraVolumes": [{"name": "dev"}]}, '"dev" is no name, or that of another volume; fix: gi'),
    ({"extraVolumes": [{"emptyDir": {}}]}, '"" is no name, or that of another volume; fix: give'),
    (
        {"extraVolumeMounts": [{"name": "acme", "mountPath": "/host/run/acme"}]},
        '"acme" is no volume of extraVolumes; fix: add the volume there, or correct the name',
    ),
    (
        {"podLabels": {"name": "x"}},
        "podLabels.name: the chart sets it; fix: remove it",
    ),
    ({"podAnnotations": {"checksum/config": "x"}}, "checksum/config: the chart sets it; fix: re"),
    (
        {"env": [{"name": "TEEPLUGIN_CDI", "value": "off"}]},
        '"TEEPLUGIN_CDI" is set by the cha',
    ),
    ({"env": [{"value": "off"}]}, 'env: "" is set by the chart, or is no name; fix: remove it'),
    ({"backendOptions": {"a": {"b": 1}}}, "is no text and no number; fix: give a single value"),
    ({"resourceName": "requests.example.com/x"}, "begins with requests., or its domain has o"),
    (
        {"settings": {"log-level": 1}},
        'settings.log-level: "1" is not allowed; fix: use debug',
    ),
    (
        {"monitoring": {"scrapeAnnotations": True, "prometheusRule": {"enabled": True}}},
        "which only the podMonitor makes; fix: enable podMonitor instead of scrapeAnnotations",
    ),
    ({"nodeSelector": {"teetype": True}}, 'true is not a string; fix: use quotes: teetype: "tr'),
    ({"telemetry": {"port": 98400}}, '"98400" is not a whole number from 1 to 65535; fix: set'),
    ({"minReadySeconds": 2.5}, '"2.5" is not a whole number from 0 to 3600; fix: set'),
    ({"test": {"units": 0}}, '"0" is not a whole number from 1 to 226600; fix: set test.units'),
    ({"monitoring": {"podMonitor": {"interval": "5s"}}}, '"5s" is not a time of 10s or more; f'),
    (
        {"monitoring": {"scrapeAnnotations": True, "podMonitor": {"enabled": True}}},
        "would have the pods scraped twice; fix: enable one of them",
    ),
    (
        {"networkPolicy": {"enabled": True}, "monitoring": {"scrapeAnnotations": True}},
        "it is empty, so Prometheus could not reach the metrics; fix: name Prometheus' namespace",
    ),
]


@pytest.mark.parametrize(("values", "line"), WRONG, ids=lambda given: str(given)[:40])
def test_a_wrong_value_is_refused_in_one_line_with_a_fix(
    values: dict[str, Any], line: str, tmp_path: Path
) -> None:
    refused = template(values, tmp_path)
    assert refused.returncode == 1
    assert refused.stdout == ""
    said = refused.stderr.partition("\n\nUse --debug")[0]
    assert line in said
    assert "\n" not in said
    in_chinese = template({"language": "zh", **values}, tmp_path)
    if "language" not in values:
        assert "修正：" in in_chinese.stderr
        assert "; fix:" not in in_chinese.stderr


def test_a_value_of_another_type_is_named_with_what_it_should_be(tmp_path: Path) -> None:
    refused = template({"image": "tee-device-plugin"}, tmp_path)
    assert refused.returncode == 1
    assert "- at '/image': got string, want object" in refused.stderr


@pytest.mark.parametrize("name", ["nodeSelector", "resources", "tolerations", "affinity", "env"])
def test_a_value_may_be_taken_away(name: str, tmp_path: Path) -> None:
    objects = rendered({name: None, "nfd": {"enabled": name == "nodeSelector"}}, tmp_path)
    spec = of_kind(objects, "DaemonSet")["spec"]["template"]["spec"]
    assert name not in spec or spec[name] == {"feature.node.kubernetes.io/teetype": "trustzone"}


@pytest.mark.parametrize(
    ("name", "value"),
    [("precision", 1_073_741_824), ("health-interval", 0.5), ("reserve", 600_000_000)],
)
def test_a_number_reaches_the_plugin_as_it_was_written(
    name: str, value: float, tmp_path: Path
) -> None:
    objects = rendered({"settings": {name: value}}, tmp_path)
    config = yaml.safe_load(of_kind(objects, "ConfigMap")["data"]["config.yaml"])
    assert config[name] == value


@pytest.mark.parametrize(("tag", "used"), [(7, "7"), (20240101, "20240101"), (None, "0.1.0")])
def test_a_whole_number_is_a_tag(tag: object, used: str, tmp_path: Path) -> None:
    # Of a values file, or as Helm gives back what `--set image.tag=7` has stored.
    objects = rendered({"image": {"tag": tag}}, tmp_path)
    (container,) = of_kind(objects, "DaemonSet")["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"tee-device-plugin:{used}"
