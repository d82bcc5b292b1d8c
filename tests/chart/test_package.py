"""The package that a release has of the chart."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from tests.chart.programs import CHART, NAMESPACE, ROOT, run_helm

VERSION = "1.2.3+4.gabcdef0"


@pytest.fixture(scope="module")
def packer() -> ModuleType:
    """The release's module, which is no package's."""
    spec = importlib.util.spec_from_file_location("chart", ROOT / "deploy" / "release" / "chart.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def packed(packer: ModuleType, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    archive: Path = packer.pack(CHART, folder, VERSION, 1_600_000_000)
    return archive


def objects(chart: Path, *words: str) -> dict[tuple[str, str], Any]:
    made = run_helm("template", "tee", str(chart), "--namespace", NAMESPACE, *words)
    assert made.returncode == 0, made.stderr
    found = [one for one in yaml.safe_load_all(made.stdout) if one]
    return {(one["kind"], one["metadata"]["name"]): one.get("spec") for one in found}


def test_the_package_makes_what_the_folder_makes_but_for_the_version(
    packer: ModuleType, tmp_path: Path
) -> None:
    archive = packed(packer, tmp_path)
    assert archive.name == f"tee-device-plugin-{VERSION}.tgz"
    everything = "monitoring.podMonitor.enabled=true,monitoring.prometheusRule.enabled=true"
    words = ("--set", f"image.tag=7,{everything},monitoring.dashboard.enabled=true")
    assert objects(archive, *words) == objects(CHART, *words)
    assert run_helm("lint", "--strict", str(archive)).returncode == 0
    about = yaml.safe_load(run_helm("show", "chart", str(archive)).stdout)
    assert (about["version"], about["appVersion"]) == (VERSION, VERSION)


def test_the_image_is_tagged_as_the_release_tags_it(packer: ModuleType, tmp_path: Path) -> None:
    # Tags have no plus sign.
    (spec,) = [
        spec for (kind, _), spec in objects(packed(packer, tmp_path)).items() if kind == "DaemonSet"
    ]
    (container,) = spec["template"]["spec"]["containers"]
    assert container["image"] == "tee-device-plugin:1.2.3-4.gabcdef0"


def test_the_same_commit_makes_the_same_bytes(packer: ModuleType, tmp_path: Path) -> None:
    first, second = (packed(packer, tmp_path / name).read_bytes() for name in ("a", "b"))
    assert first == second


def test_only_a_release_is_no_prerelease(packer: ModuleType) -> None:
    text = (CHART / "Chart.yaml").read_text()
    for version, mark in (("0.2.0", "false"), (VERSION, "true"), ("0.2.0-rc.1", "true")):
        annotations = yaml.safe_load(packer.stamped(text, version))["annotations"]
        assert annotations["artifacthub.io/prerelease"] == mark
