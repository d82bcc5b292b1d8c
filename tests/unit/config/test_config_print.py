"""`--print-config`: a configuration file again, and where each value came from."""

import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teeplugin.config.print_config import as_yaml
from teeplugin.config.settings import SETTINGS, Settings
from teeplugin.config.sources import FlagValue, Loaded, load
from tests.unit.config.config_loading import loaded_from, yaml_file


def test_the_printed_configuration_tells_where_each_value_came_from(tmp_path: Path) -> None:
    loaded = load(
        [FlagValue("health-interval", "-internal", "5"), FlagValue("reserve", "--reserve", "1M")],
        {"TEEPLUGIN_PRECISION": "600", "TEEPLUGIN_BACKEND_OPTIONS": "total=4GiB"},
    )
    lines = as_yaml(loaded).splitlines()
    assert len({line.index("   # ") for line in lines}) == 1, "the comments are aligned"
    assert [line.split() for line in lines][:6] == [
        ["precision:", "600", "#", "environment", "TEEPLUGIN_PRECISION"],
        ["health-interval:", "5", "#", "flag", "-internal"],
        ["backend:", "libteec", "#", "default"],
        ["backend-options:", "#", "environment", "TEEPLUGIN_BACKEND_OPTIONS"],
        ["total:", "4GiB", "#", "environment", "TEEPLUGIN_BACKEND_OPTIONS"],
        ["reserve:", "1MiB", "#", "flag", "--reserve"],
    ]
    defaults = as_yaml(load([], {}))
    assert "reserve: null " in defaults
    assert "# default: the backend's own" in defaults
    assert loaded_from(file=yaml_file(tmp_path, defaults)).settings == Settings()


TEXTS = st.text(min_size=1, max_size=12) | st.sampled_from(
    ["yes", "null", "~", "010", "1:30", "# no", "a: b", "'", '"', "\\", "- x", "!tag", "é", "\x85"]
)
KEYS = st.text(string.ascii_letters + string.punctuation.replace("=", ""), min_size=1, max_size=6)


ANY_SETTINGS = st.fixed_dictionaries(
    {
        "precision_kb": st.integers(512, 2**40),
        "health_interval_seconds": st.just(0.0) | st.floats(0.01, 1e300),
        "backend": TEXTS,
        "backend_options": st.dictionaries(KEYS, TEXTS | st.just(""), max_size=4),
        "reserve_bytes": st.none() | st.integers(0, 2**50),
        "log_level": st.sampled_from(["debug", "info", "warning", "error"]),
    }
).map(Settings.model_validate)


@given(ANY_SETTINGS)
def test_the_printed_configuration_loads_to_the_same_settings(
    tmp_path_factory: pytest.TempPathFactory, settings: Settings
) -> None:
    options = [f"backend-options.{key}" for key in settings.backend_options]
    provenance = dict.fromkeys([*SETTINGS, *options], "test")
    file = tmp_path_factory.getbasetemp() / "printed.yaml"
    file.write_text(as_yaml(Loaded(settings, provenance)), encoding="utf-8")
    assert loaded_from(file=file).settings == settings
