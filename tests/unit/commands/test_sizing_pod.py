"""`pod`: a manifest that Kubernetes takes, with the number of `size` and what a CA needs."""

import json
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # ships no types
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from teeplugin.dra.quantity import parse_quantity
from tests.unit.commands.sizing_files import DATA, UUID, configs_xml, pod, refusal, size

EXAMPLE = DATA / "ten_mib.xml"
PLUGIN = DATA / "plugin.txt"
IMAGE = ("--image", "registry.example/ca:1")
RESOURCE = "huawei.com/tee-ram"

pytestmark = pytest.mark.usefixtures("no_settings")
# The oldest and the newest that the validator has.
KUBERNETES = ("1.25", "1.37")


def manifest(*words: str | Path) -> dict[str, Any]:
    """The pod, checked against the API's schema, in which no unknown field may stand."""
    found: dict[str, Any] = yaml.safe_load(pod(*words))
    for version in KUBERNETES:
        kubernetes_validate.validate(found, version, strict=True)
    return found


def test_the_pod_asks_for_the_number_that_size_prints() -> None:
    for files in ([EXAMPLE], [EXAMPLE, PLUGIN]):
        for precision in ("512", "1024"):
            (container,) = manifest(*IMAGE, "--precision", precision, *files)["spec"]["containers"]
            units = json.loads(size("--precision", precision, "--format", "json", *files))["units"]
            assert container["resources"] == {"limits": {RESOURCE: units}}


def test_the_pod_runs_unprivileged_as_the_user_that_the_ta_admits() -> None:
    spec = manifest(*IMAGE, EXAMPLE)["spec"]
    assert spec["securityContext"] == {
        "runAsUser": 0,
        "runAsGroup": 0,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    (container,) = spec["containers"]
    assert container["securityContext"] == {
        "privileged": False,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    # Else containers would be one group in the TEE, or the TEE would find no user.
    assert (spec["hostPID"], spec["shareProcessNamespace"]) == (False, False)
    assert "hostUsers" not in spec
    assert spec["automountServiceAccountToken"] is False
    assert "volumes" not in spec  # what leads to the TEE comes from the plugin


def test_name_user_and_command_of_the_pod_are_those_given() -> None:
    flags = ("--name", "my-ca", "--user", "1000", "--command", "/opt/the ca\\'s\"/内存")
    found = manifest(*IMAGE, *flags, EXAMPLE)
    (container,) = found["spec"]["containers"]
    assert (found["metadata"]["name"], container["name"]) == ("my-ca", "my-ca")
    assert container["command"] == ["/opt/the ca\\'s\"/内存"]
    context = found["spec"]["securityContext"]
    assert (context["runAsUser"], context["runAsGroup"]) == (1000, 1000)
    assert "command" not in manifest(*IMAGE, EXAMPLE)["spec"]["containers"][0]


def test_the_pod_of_a_user_that_is_not_root_passes_pod_security_restricted() -> None:
    spec = manifest(*IMAGE, "--user", "1000", EXAMPLE)["spec"]
    (container,) = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert {"hostNetwork", "hostIPC", "volumes"} & set(spec) == set()
    # Root would be refused by its own pod.
    assert "runAsNonRoot" not in manifest(*IMAGE, EXAMPLE)["spec"]["securityContext"]


@pytest.mark.parametrize(
    ("service_name", "name"),
    [
        ("demo-ta", "demo-ta"),
        ("Demo_TA_2", "demo-ta-2"),
        ("_", "ca"),
        ("on", "on"),
        ("512", "512"),
        ("x" * 36, "x" * 36),
    ],
)
def test_the_pods_name_is_made_from_the_first_tas(
    tmp_path: Path, service_name: str, name: str
) -> None:
    basic = f"<service_name>{service_name}</service_name>"
    (tmp_path / "ta.xml").write_text(configs_xml("<heap_size>81920</heap_size>", basic=basic))
    assert manifest(*IMAGE, tmp_path / "ta.xml", EXAMPLE)["metadata"]["name"] == name
    assert manifest(*IMAGE, EXAMPLE)["metadata"]["name"] == "demo-ta"


def test_a_pod_that_is_not_root_is_told_whose_the_log_is() -> None:
    assert "/dev/teelog" not in pod(*IMAGE, EXAMPLE)
    assert "only root can open /dev/teelog (0600)" in pod(*IMAGE, "--user", "1000", EXAMPLE)


def test_the_comments_name_what_secure_storage_needs() -> None:
    text = pod(*IMAGE, EXAMPLE)
    assert "Secure storage and derived" in text
    assert "a hook on the node" in text


def test_the_comments_name_the_tas_and_their_files() -> None:
    text = pod(*IMAGE, EXAMPLE, PLUGIN)
    for part in ("# - demo-ta: ", "# - tee-memory: ", f"/var/itrustee/ta/{UUID}.sec", "passwd"):
        assert part in text
    assert max(map(len, text.splitlines())) <= 100


POD_MISTAKES: dict[tuple[str, ...], list[str]] = {
    ("{xml}",): ["pod:", "required: --image", "see tee-device-plugin pod --help"],
    ("--image", "", "{xml}"): ["--image ''", "is no image's name", "give"],
    ("--image", "a b", "{xml}"): ["--image 'a b'", "is no image's name", "give"],
    ("--image", "a\nb: c", "{xml}"): [r"--image 'a\nb: c'", "is no image's name", "give"],
    ("--image", "x" * 1025, "{xml}"): ["--image xxx", "is no image's name", "give"],
    **{
        ("--image", image, "{xml}"): [
            f"--image {image[:99]}",
            "is no image's name",
            "in lower case",
        ]
        for image in (
            "UPPER/Case",
            "Case",
            "a..b//c",
            "a/",
            "a:",
            "a:b:c",
            "a@b",
            "a@sha256:12",
            "host:port/a",
            "[::1]",
            "a" * 64,  # an ID
            "a/" * 127 + "aa",
        )
    },
    ("--image", "a", "--name", "My", "{xml}"): ["--name My", "lower-case", "e.g. --name my-ca"],
    ("--image", "a", "--name", "a-", "{xml}"): ["--name a-", "letter or digit at both ends"],
    ("--image", "a", "--name", "", "{xml}"): ["--name ''", "at most 63"],
    ("--image", "a", "--user", "root", "{xml}"): ["--user root", "a user's number", "--user 0"],
    ("--image", "a", "--user", "2147483648", "{xml}"): ["--user", "to 2147483647"],
    ("--image", "a", "--command", "ca", "{xml}"): ["--command ca", "absolute path", "/vendor/bin"],
    ("--image", "a", "--command", "/a\nb", "{xml}"): [r"--command '/a\nb'", "absolute path"],
    ("--image", "a", "--command", "", "{xml}"): ["--command ''", "absolute path"],
}


@pytest.mark.parametrize("words", POD_MISTAKES, ids=lambda words: " ".join(words)[:40])
def test_a_mistake_in_pods_flags_is_one_line_too(words: tuple[str, ...]) -> None:
    line = refusal(*(word.format(xml=EXAMPLE) for word in words), command="pod")
    assert [part for part in POD_MISTAKES[words] if part not in line] == [], line


@pytest.mark.parametrize(
    "image",
    [
        "ca",
        "ca:1.0_B",
        "localhost:5000/ca",
        "Registry.Example/a__b/c-d.e:V1",
        f"registry.example/ca:1@sha256:{'0a' * 32}",
        "[2001:db8::1]:5000/ca:1",
        "a/" * 127 + "a",
    ],
)
def test_every_form_of_an_images_name_is_taken(image: str) -> None:
    (container,) = manifest("--image", image, EXAMPLE)["spec"]["containers"]
    assert container["image"] == image


def test_a_path_that_could_leave_its_comment_is_quoted_in_it(tmp_path: Path) -> None:
    path = tmp_path / "a\nkind: Other"
    path.write_text("gpd.ta.dataSize: 81920\n")
    assert manifest(*IMAGE, path)["kind"] == "Pod"
    assert r"\nkind: Other': " in pod(*IMAGE, path)


@given(
    image=st.from_regex(
        r"([A-Za-z0-9]{1,9}(:[0-9]{1,5})?/)?[a-z0-9]{1,9}([._/-][a-z0-9]{1,9}){0,3}"
        r"(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,9})?",
        fullmatch=True,
    ),
    name=st.from_regex(r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True),
    command=st.text(st.characters(codec="utf-8"), max_size=20).map(lambda tail: f"/{tail}"),
)
def test_what_is_taken_stands_in_the_manifest_as_it_was_given(
    image: str, name: str, command: str
) -> None:
    words = (f"--image={image}", f"--name={name}", EXAMPLE)
    if not command.isprintable():
        assert "absolute path" in refusal(f"--command={command}", *words, command="pod")
        return
    found = yaml.safe_load(pod(f"--command={command}", *words))
    (container,) = found["spec"]["containers"]
    assert (container["image"], container["command"]) == (image, [command])
    assert (found["metadata"]["name"], container["name"]) == (name, name)


# Claims


def test_with_claim_the_pod_asks_by_a_claim_of_the_same_amount() -> None:
    for precision in ("512", "1024"):
        words = ("--precision", precision, EXAMPLE, PLUGIN)
        template, one = yaml.safe_load_all(pod(*IMAGE, "--claim", *words))
        for found in (template, one):
            kubernetes_validate.validate(found, "1.37", strict=True)
        (request,) = template["spec"]["spec"]["devices"]["requests"]
        asked = json.loads(size("--format", "json", *words))["asked_bytes"]
        memory = request["exactly"]["capacity"]["requests"]["memory"]
        assert parse_quantity(memory) == asked
        (source,) = one["spec"]["resourceClaims"]
        assert source["resourceClaimTemplateName"] == template["metadata"]["name"]
        (container,) = one["spec"]["containers"]
        assert container["resources"] == {"claims": [{"name": source["name"]}]}
        assert source["name"] == request["name"]
        assert yaml.safe_load(size("--claim", *words))["spec"] == template["spec"]


def test_all_figures_of_a_pod_with_a_claim_have_one_unit() -> None:
    text = pod(*IMAGE, "--claim", EXAMPLE)
    assert "where the plugin's precision is 512 KiB" in text
    assert "# 22 units of 512 KiB." in text
    assert " KB" not in text


def test_the_claims_class_is_that_of_the_manifests() -> None:
    file = Path(__file__).parents[3] / "deploy" / "components" / "dra" / "device-class.yaml"
    made = yaml.safe_load(size("--claim", EXAMPLE))
    (request,) = made["spec"]["spec"]["devices"]["requests"]
    found = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert request["exactly"]["deviceClassName"] == found["metadata"]["name"]


def test_a_claim_of_more_units_than_a_container_gets_is_noted(tmp_path: Path) -> None:
    file = tmp_path / "configs.xml"
    file.write_text(configs_xml(f"<heap_size>{2 * 1024**3}</heap_size>"))
    assert "at most 2048 units" in size("--claim", file)
    assert "at most" not in size("--claim", "--precision", "4096", file)
