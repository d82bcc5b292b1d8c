"""helm and kustomize, built once from their Go modules."""

import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.go_programs import Build
from tests.needs import unavailable
from tests.system_packages import UnavailableError

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "chart"
RELEASE = "tee-device-plugin"
NAMESPACE = "kube-system"

HELM_VERSION = "v4.3.2"
KUSTOMIZE_VERSION = "v5.8.0"
_HELM = "helm.sh/helm/v4"
_KUSTOMIZE = "sigs.k8s.io/kustomize/kustomize/v5"
_GO_MOD = f"""\
module teeplugin.test/helm

go 1.26.0

require (
\t{_HELM} {HELM_VERSION}
\t{_KUSTOMIZE} {KUSTOMIZE_VERSION}
)
"""

Object = dict[str, Any]


@cache
def _directory() -> Path:
    packages = (f"{_HELM}/cmd/helm", _KUSTOMIZE)
    try:
        return Build("helm", HELM_VERSION, packages, _GO_MOD).ensure()
    except UnavailableError as error:
        unavailable(str(error))


def helm() -> str:
    """Give the program's path; the first call of a machine builds it."""
    return str(_directory() / "helm")


def kustomized(folder: Path) -> list[Object]:
    """Give the objects that a Kustomization builds."""
    result = _run(str(_directory() / "kustomize"), "build", str(folder))
    assert result.returncode == 0, result.stderr
    return list(yaml.safe_load_all(result.stdout))


def run_helm(*words: str) -> subprocess.CompletedProcess[str]:
    """Run helm without a cluster."""
    return _run(helm(), *words)


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    # Neither the user's settings of helm nor a cluster of theirs is to be seen.
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}
    return subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=60, check=False
    )


def template(
    values: Mapping[str, Any], folder: Path, *, release: str = RELEASE, kubernetes: str = "1.37.0"
) -> subprocess.CompletedProcess[str]:
    """Render the chart with these values, which are written into a file of the folder."""
    file = folder / "values.yaml"
    file.write_text(yaml.safe_dump(dict(values), allow_unicode=True), encoding="utf-8")
    version = ("--kube-version", kubernetes)
    where = ("--namespace", NAMESPACE, "--values", str(file))
    return run_helm("template", release, str(CHART), *where, *version)


def rendered(
    values: Mapping[str, Any], folder: Path, *, release: str = RELEASE, kubernetes: str = "1.37.0"
) -> list[Object]:
    """Give the objects that the chart makes of these values."""
    result = template(values, folder, release=release, kubernetes=kubernetes)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return [one for one in yaml.safe_load_all(result.stdout) if one]


def of_kind(objects: list[Object], kind: str) -> Object:
    """Give the only object of a kind."""
    (found,) = [one for one in objects if one["kind"] == kind]
    return found
