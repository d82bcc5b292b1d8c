"""The choice of a backend among the installed ones."""

import importlib.metadata
import sys
from collections.abc import Mapping
from importlib.metadata import EntryPoint, EntryPoints
from types import ModuleType
from typing import Self

import pytest

from teeplugin.config.settings import ConfigError
from teeplugin.tee import entry_points as backends
from teeplugin.tee.entry_points import load_backend
from teeplugin_backends.base import TeeBackend
from teeplugin_backends.simulated import SimulatedTee


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> list[EntryPoint]:
    """The entry points there are, for the test to fill."""
    points: list[EntryPoint] = []

    def entry_points(group: str) -> EntryPoints:
        assert group == backends.GROUP
        return EntryPoints(points)

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    return points


def point(name: str, target: str) -> EntryPoint:
    return EntryPoint(name, target, backends.GROUP)


def refusal(name: str, **options: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_backend(name, options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_backend_is_made_from_its_options() -> None:
    assert isinstance(load_backend("simulated", {"total": "1GiB"}), TeeBackend)


def test_only_the_chosen_entry_point_is_imported(installed: list[EntryPoint]) -> None:
    installed += [
        point("simulated", "teeplugin_backends.simulated:SimulatedTee"),
        point("other", "no_such_module:Thing"),
    ]
    load_backend("simulated", {})


def test_an_unknown_backend_is_told_with_those_there_are(installed: list[EntryPoint]) -> None:
    installed += [point("simulated", "x:X"), point("acme", "y:Y")]
    assert refusal("simulate").startswith(
        "--backend simulate: no such backend: did you mean simulated? "
        "the backends here are acme, simulated: install its package "
    )
    assert "the backends here are acme, simulated" in refusal("qqq")


def test_an_unknown_backend_is_told_with_where_to_install_it(
    installed: list[EntryPoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    installed.append(point("libteec", "x:X"))
    monkeypatch.setattr(sys, "executable", "/opt/tee/bin/python")
    monkeypatch.setattr(sys, "prefix", "/opt/tee")
    assert refusal("sgx").endswith(
        ": install its package with /opt/tee/bin/python -m pip install --no-deps PACKAGE"
    )
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    assert "install its package for /opt/tee/bin/python, without dep" in refusal("sgx")


def test_no_backend_at_all_is_told(installed: list[EntryPoint]) -> None:
    installed.clear()
    assert "the backends here are none: install" in refusal("acme")


def test_the_default_backend_is_installed() -> None:
    assert isinstance(load_backend("libteec", {}), TeeBackend)


@pytest.mark.parametrize("target", ["no_such_module:Thing", "teeplugin.policy.units:NoSuchThing"])
def test_a_backend_that_fails_to_import_is_named(installed: list[EntryPoint], target: str) -> None:
    installed.append(point("acme", target))
    assert refusal("acme").startswith(f"--backend acme: {target} can't be imported (")


def test_a_module_that_raises_anything_is_named(
    installed: list[EntryPoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(ModuleType):
        def __getattr__(self, name: str) -> object:
            raise RuntimeError(f"no {name}\nfor two lines")

    monkeypatch.setitem(sys.modules, "broken", Broken("broken"))
    installed.append(point("acme", "broken:Thing"))
    assert "(RuntimeError: no Thing for two lines)" in refusal("acme")


@pytest.mark.parametrize(
    "target", ["teeplugin.config.settings:Settings", "teeplugin.policy.units:KIB"]
)
def test_what_is_no_backend_is_refused(installed: list[EntryPoint], target: str) -> None:
    installed.append(point("acme", target))
    line = refusal("acme")
    assert f"{target} is not a backend: it must be a subclass of teeplugin_backends.base" in line


def test_two_packages_with_one_name_are_refused(installed: list[EntryPoint]) -> None:
    installed += [point("acme", "a:A"), point("acme", "b:B")]
    assert "registered by several packages (a:A, b:B): uninstall all but one" in refusal("acme")


def test_a_package_seen_twice_is_one(installed: list[EntryPoint]) -> None:
    installed += [point("s", "teeplugin_backends.simulated:SimulatedTee")] * 2
    assert isinstance(load_backend("s", {}), TeeBackend)


class Failing(SimulatedTee):
    """A backend that forgot to wrap its errors."""

    @classmethod
    def from_options(cls, options: Mapping[str, str]) -> Self:
        raise KeyError(f"{options['a']}\nof two lines")


def test_a_backend_that_fails_to_be_made_is_named(
    installed: list[EntryPoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("failing")
    vars(module)["Failing"] = Failing
    monkeypatch.setitem(sys.modules, "failing", module)
    installed.append(point("acme", "failing:Failing"))
    line = refusal("acme", a="b")
    assert line.startswith("--backend acme: failing:Failing can't be made from its options (KeyErr")
    assert "of two lines')" in line
    assert line.endswith("correct the options or the backend")


def test_an_option_that_the_backend_refuses_is_told() -> None:
    line = refusal("simulated", colour="red")
    assert line.startswith("--backend simulated: option colour=red: no such option")
