"""The settings: rules, flags and environment, and their precedence."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teeplugin.config import validators as config_rules
from teeplugin.config.settings import SETTINGS, ConfigError, Settings, nearest
from tests.unit.config.config_loading import loaded_from, refusal, yaml_file


def test_the_defaults_are_those_of_the_original() -> None:
    settings = Settings()
    assert settings.precision_kb == 512
    assert settings.unit_bytes == 512 * 1024
    assert settings.health_interval_seconds == 60
    assert settings.backend == "libteec"
    assert settings.backend_options == {}
    assert settings.reserve_bytes is None
    assert settings.resource_name == "huawei.com/tee-ram"
    assert settings.device_plugins_dir == Path("/var/lib/kubelet/device-plugins")
    assert settings.pod_resources_socket == Path("/var/lib/kubelet/pod-resources/kubelet.sock")


def test_settings_never_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().precision_kb = 1024


def test_every_setting_says_what_flags_help_and_docs_need() -> None:
    assert len(SETTINGS) == len(Settings.model_fields)
    for setting in SETTINGS.values():
        assert setting.description
        assert setting.flags
        assert setting.variable.startswith("TEEPLUGIN_")


def test_every_example_is_accepted_as_it_is_printed(tmp_path: Path) -> None:
    for key, setting in SETTINGS.items():
        if not key.endswith(("-dir", "-root")):  # those have to exist
            loaded_from((key, setting.example))
    loaded_from(("kubelet-dir", str(tmp_path)), ("host-root", str(tmp_path)))


def test_flags_win_over_environment_over_file_over_defaults(tmp_path: Path) -> None:
    file = yaml_file(tmp_path, "precision: 1024\nbackend: from-file\nlog-level: error\n")
    loaded = loaded_from(
        ("precision", "4096"),
        environ={"TEEPLUGIN_PRECISION": "2048", "TEEPLUGIN_BACKEND": "from-environment"},
        file=file,
    )
    assert loaded.settings.precision_kb == 4096
    assert loaded.settings.backend == "from-environment"
    assert loaded.settings.log_level == "error"
    assert loaded.settings.log_format == "text"
    assert loaded.provenance["precision"] == "flag --precision"
    assert loaded.provenance["backend"] == "environment TEEPLUGIN_BACKEND"
    assert loaded.provenance["log-level"] == f"file {file} line 3"
    assert loaded.provenance["log-format"] == "default"


def test_backend_options_are_merged_key_by_key(tmp_path: Path) -> None:
    file = yaml_file(tmp_path, "backend-options:\n  a: file\n  b: file\n  c: file\n")
    loaded = loaded_from(
        ("backend-options", "c=flag=with=equals"),
        environ={"TEEPLUGIN_BACKEND_OPTIONS": "b=environment, c=environment,"},
        file=file,
    )
    options = {"a": "file", "b": "environment", "c": "flag=with=equals"}
    assert loaded.settings.backend_options == options
    assert loaded.provenance["backend-options.a"] == f"file {file} line 2"
    assert loaded.provenance["backend-options.b"] == "environment TEEPLUGIN_BACKEND_OPTIONS"
    assert loaded.provenance["backend-options.c"] == "flag --backend-options"


def test_the_last_of_repeated_flags_counts() -> None:
    assert loaded_from(("precision", "600"), ("precision", "700")).settings.precision_kb == 700


def test_an_empty_variable_counts_as_not_set() -> None:
    environ = {"TEEPLUGIN_PRECISION": "", "TEEPLUGIN_CONFIG": "", "TEEPLUGIN_BACKEND_OPTIONS": ""}
    assert loaded_from(environ=environ).settings == Settings()


def test_variables_of_a_service_called_teeplugin_are_ignored() -> None:
    environ = {"TEEPLUGIN_PORT": "tcp://10.0.0.1:80", "TEEPLUGIN_SERVICE_HOST": "10.0.0.1"}
    assert loaded_from(environ=environ).settings == Settings()


def test_the_environment_can_name_the_file(tmp_path: Path) -> None:
    file = yaml_file(tmp_path, "precision: 777\n")
    assert loaded_from(environ={"TEEPLUGIN_CONFIG": str(file)}).settings.precision_kb == 777
    assert "environment TEEPLUGIN_CONFIG=/nowhere.yaml: can't be read" in refusal(
        environ={"TEEPLUGIN_CONFIG": "/nowhere.yaml"}
    )


@pytest.mark.parametrize(
    "text", ["512.5", "0x200", "1_000", " 512", "512 ", "0512", "", "abc", "٥١٢", "1e3", "512\n"]
)
def test_a_precision_that_is_not_decimal_digits_is_refused(text: str) -> None:
    line = refusal(("precision", text))
    assert "not a whole number of KB: give 512 or more, e.g. --precision 512" in line


@pytest.mark.parametrize("text", ["511", "0", "-1", "-" + "9" * 5000])
def test_a_precision_below_the_minimum_is_refused(text: str) -> None:
    assert "must be 512 or more: give a whole number of KB" in refusal(("precision", text))


@pytest.mark.parametrize("text", [str(10**30), "9" * 5000])
def test_an_absurd_precision_meets_the_rule_and_no_overflow(text: str) -> None:
    assert "must be 1099511627776 or less" in refusal(("precision", text))


@pytest.mark.parametrize("text", ["-1", "-0.5", "-1e-9"])
def test_a_negative_interval_is_refused(text: str) -> None:
    line = refusal(("health-interval", text))
    assert line.startswith(f"--health-interval {text}: must be 0 or more: ")


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e309", "1_0", "sixty", "60s", ""])
def test_an_interval_that_is_no_finite_number_is_refused(text: str) -> None:
    line = refusal(("health-interval", text))
    assert "not a finite number of seconds: give 0 or more, e.g. --health-interval 60" in line


@pytest.mark.parametrize(("text", "seconds"), [("0", 0), ("0.05", 0.05), (".5", 0.5), ("1e3", 1e3)])
def test_an_interval_may_have_fractions_and_0_is_off(text: str, seconds: float) -> None:
    assert loaded_from(("health-interval", text)).settings.health_interval_seconds == seconds


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("600MiB", 600 * 1024**2), ("600Mi", 600 * 1024**2), ("0", 0), ("4096", 4096)],
)
def test_a_reserve_is_a_size(text: str, size_bytes: int) -> None:
    assert loaded_from(("reserve", text)).settings.reserve_bytes == size_bytes


@pytest.mark.parametrize(
    "text",
    ["600 apples", "-1", "", "0.3B", "0.3P", "1PP", "Pi", "0" * 5000, f"{'9' * 99} apples", "null"],
)
def test_a_reserve_that_is_no_size_is_refused(text: str) -> None:
    line = refusal(("reserve", text))
    assert "not a size of whole bytes: give a number with K, M, G or T, e.g. --reserve" in line
    assert len(line) < 300


@pytest.mark.parametrize(
    "text", ["2000T", "2PiB", "1.5 p", "1E", "1025TiB", "9" * 5000, f"{'9' * 5000}.5K"]
)
def test_a_reserve_beyond_any_tee_is_refused_by_that_rule(text: str) -> None:
    line = refusal(("reserve", text))
    assert ": must be 1 PiB or less: give a number with K, M, G or T" in line
    assert len(line) < 300


@pytest.mark.parametrize("text", ["1PiB", "1Pi", "1p", "1024T", "1125899906842624", "0.5PB"])
def test_a_reserve_of_up_to_1_pib_is_taken_in_any_suffix(text: str) -> None:
    expected = 1024**5 // (2 if text == "0.5PB" else 1)
    assert loaded_from(("reserve", text)).settings.reserve_bytes == expected


@pytest.mark.parametrize(
    "name",
    [
        "huawei.com/tee-ram",
        "a/b",
        "x-1.example.org/Tee_Ram.v2",
        f"{'a' * 244}/n",
        f"example.org/{'n' * 63}",
    ],
)
def test_a_name_that_the_kubelet_takes_is_taken(name: str) -> None:
    assert loaded_from(("resource-name", name)).settings.resource_name == name


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("tee-ram", "one / between"),
        ("/tee-ram", "one / between"),
        ("huawei.com/", "one / between"),
        ("huawei.com/tee/ram", "one / between"),
        ("kubernetes.io/tee", "reserved"),
        ("device.kubernetes.io/tee", "reserved"),
        ("notkubernetes.io/tee", "reserved"),  # the API server looks for the text alone
        ("requests.huawei.com/tee", "requests."),
        ("Huawei.com/tee", "lower-case"),
        ("huawei..com/tee", "lower-case"),
        ("-huawei.com/tee", "lower-case"),
        (f"{'a' * 245}/n", "at most 244"),
        ("huawei.com/-tee", "beginning and ending"),
        ("huawei.com/tee ram", "beginning and ending"),
        ("huawei.com/tee\n", "beginning and ending"),
        (f"huawei.com/{'n' * 64}", "at most 63"),
    ],
)
def test_a_name_that_the_kubelet_would_refuse_is_refused(name: str, fault: str) -> None:
    line = refusal(("resource-name", name))
    assert fault in line
    assert "give vendor.domain/name, e.g. --resource-name huawei.com/tee-ram" in line


@pytest.mark.parametrize("key", ["kubelet-dir", "host-root"])
@pytest.mark.parametrize("text", ["", "/nowhere/at/all", __file__, "nul\0byte"])
def test_a_directory_given_by_hand_must_exist(key: str, text: str) -> None:
    assert "not an existing directory: give " in refusal((key, text))


def test_the_directory_of_pod_resources_is_the_other_ones_unless_it_is_given(
    tmp_path: Path,
) -> None:
    derived = loaded_from(("kubelet-dir", str(tmp_path))).settings
    assert derived.pod_resources_socket == tmp_path / "pod-resources" / "kubelet.sock"
    # It need not be there: the kubelet that makes it may start later.
    flags = ("kubelet-dir", str(tmp_path)), ("pod-resources-dir", "/nowhere/pod-resources")
    given_too = loaded_from(*flags).settings
    assert given_too.pod_resources_socket == Path("/nowhere/pod-resources/kubelet.sock")
    assert given_too.device_plugins_dir == tmp_path / "device-plugins"


@pytest.mark.parametrize("text", ["", "nul\0byte"])
def test_what_is_no_path_is_refused(text: str) -> None:
    assert "not a directory's path: give pod-resources in " in refusal(("pod-resources-dir", text))


@pytest.fixture
def missing_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A default for --kubelet-dir that isn't there, whatever this machine has."""
    missing = tmp_path / "no-kubelet"
    monkeypatch.setitem(config_rules._MAY_BE_MISSING, "kubelet_dir", missing)
    return missing


def test_a_default_directory_given_by_flag_or_variable_must_exist(missing_default: Path) -> None:
    fault = f"{missing_default}: not an existing directory: give the one that has device-plugins, "
    assert refusal(("kubelet-dir", str(missing_default))).startswith(f"--kubelet-dir {fault}")
    told = refusal(environ={"TEEPLUGIN_KUBELET_DIR": str(missing_default)})
    assert told.startswith(f"environment TEEPLUGIN_KUBELET_DIR={fault}")


def test_only_a_file_may_name_a_default_directory_that_is_missing(
    tmp_path: Path, missing_default: Path
) -> None:
    file = yaml_file(tmp_path, f"kubelet-dir: {missing_default}\n")
    assert loaded_from(file=file).settings.kubelet_dir == missing_default
    assert "not an existing" in refusal(("kubelet-dir", str(missing_default)), file=file)
    other = yaml_file(tmp_path, f"host-root: {missing_default}\n")
    assert "host-root: " in refusal(file=other)


def test_a_log_format_or_level_that_is_none_is_refused() -> None:
    assert "not a log format: give text or json" in refusal(("log-format", "xml"))
    assert "not a log level: give debug, info, warning or error" in refusal(("log-level", "INFO"))


@pytest.mark.parametrize("text", ["total", "=4G", ""])
def test_an_option_without_key_or_value_is_refused(text: str) -> None:
    assert "is not KEY=VALUE: give " in refusal(("backend-options", text))


def test_an_option_in_the_environment_shows_how_to_write_it_there() -> None:
    line = refusal(environ={"TEEPLUGIN_BACKEND_OPTIONS": "a=1,b"})
    assert line.startswith("environment TEEPLUGIN_BACKEND_OPTIONS=a=1,b: b is not KEY=VALUE")
    assert line.endswith("e.g. TEEPLUGIN_BACKEND_OPTIONS=total=4GiB")


def test_bytes_that_are_no_text_are_refused() -> None:
    assert "not UTF-8" in refusal(("backend-options", "a=\udcff"))
    assert "not UTF-8" in refusal(("backend-options", "\udcff=a"))


def test_an_option_s_name_is_short_enough_to_be_printed_as_yaml() -> None:
    told = refusal(("backend-options", "a" * 1_100 + "=b"))
    assert "no option has so long a name" in told
    assert len(told) < 300


def test_a_value_with_a_newline_stays_on_the_line() -> None:
    assert "'5\\n12'" in refusal(("precision", "5\n12"))


@given(st.sampled_from(sorted(SETTINGS)), st.text())
def test_no_text_gives_anything_but_settings_or_one_line(key: str, text: str) -> None:
    try:
        loaded_from((key, text))
    except ConfigError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017 - most texts raise nothing


@pytest.mark.parametrize(
    ("word", "candidates", "meant"),
    [("precison", ["precision", "backend"], "precision"), ("x" * 10**6, ["backend"], None)],
)
def test_a_near_match_is_found_and_a_long_word_costs_nothing(
    word: str, candidates: Sequence[str], meant: str | None
) -> None:
    assert nearest(word, candidates) == meant


@pytest.mark.parametrize(
    ("given", "host", "port"),
    [
        ("127.0.0.1:9840", "127.0.0.1", 9840),
        (":9840", None, 9840),
        ("[::1]:0", "::1", 0),
        ("localhost:65535", "localhost", 65535),
    ],
)
def test_an_address_has_a_host_or_none_and_a_port(given: str, host: str | None, port: int) -> None:
    listen = loaded_from(("listen", given)).settings.listen
    assert config_rules.split_address(listen) == (host, port)


@pytest.mark.parametrize("given", ["", "off"])
def test_the_empty_address_and_off_are_none(given: str, tmp_path: Path) -> None:
    assert loaded_from(("listen", given)).settings.listen == ""
    file = yaml_file(tmp_path, f'listen: "{given}"\n')
    assert loaded_from(file=file).settings.listen == ""


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ("9840", "has no port"),
        ("localhost:", "the port is no number"),
        ("localhost:http", "the port is no number"),
        ("localhost:65536", "must be 65535 or less"),
        ("::1:9840", "goes into brackets"),
        ("[::g]:9840", "no IPv6 address"),
        ("a b:9840", "no name or address"),
    ],
)
def test_what_is_no_address_is_refused(given: str, fault: str) -> None:
    line = refusal(("listen", given))
    assert fault in line
    assert "give HOST:PORT, :PORT for all addresses, or off, e.g. --listen 127.0.0.1:9840" in line
