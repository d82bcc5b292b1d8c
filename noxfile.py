"""What CI and developers run: `nox`, `nox -t check` for all else but the cluster, `nox -l`."""

import filecmp
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_venv = "yes"

ROOT = Path(__file__).parent
nox.options.sessions = ["fast"]

OF_THE_CODE = ("tests/unit", "tests/contract", "tests/plugin")
FAST_TESTS = (*OF_THE_CODE, "tests/docs")
# More than there are processors, on most machines: most of the tests' time is waiting.
AT_ONCE = "--numprocesses=4"
API_PACKAGES = {"deviceplugin": "v1beta1", "podresources": "v1"}
API_PACKAGES |= {"dra": "v1", "drahealth": "v1alpha1", "pluginregistration": "v1"}
API_OPTIONS = "server_generation=async,client_generation=async"


def _interpreters() -> Iterator[tuple[str, str]]:
    """Find every CPython from 3.11 on: (version, path), on PATH and among pyenv's versions."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for minor in range(11, 20):
        version = f"3.{minor}"
        candidates = [shutil.which(f"python{version}")]
        candidates += map(str, sorted(pyenv.glob(f"{version}.*/bin/python{version}")))
        for path in filter(None, candidates):
            # A pyenv shim may stand on PATH for a version that isn't chosen: it doesn't run.
            asked = subprocess.run([path, "-c", "import venv"], capture_output=True, check=False)
            if asked.returncode == 0:
                yield version, path
                break


PYTHONS = list(_interpreters())
# The one that runs nox, and so `fast` and `slow`: `make check` has the others left.
OWN_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
# The one whose lines are counted where COVERAGE is set: from 3.12 on that costs next to nothing.
NEWEST_PYTHON = PYTHONS[-1][1]
COVERAGE_DATA = ROOT / ".nox" / ".coverage" / "data"
LEAST_COVERAGE = 96
"""Per cent of the lines of teeplugin and teeplugin_backends; 97.2 were reached."""


def _dependency_group(session: nox.Session, *groups: str) -> None:
    session.install(
        *nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), *groups)
    )


def _install_wheel(session: nox.Session) -> None:
    """Build the wheel once a run and install it, with its extras: what is shipped is tested."""
    dist = Path(session.cache_dir).resolve() / "wheel"
    if dist not in _built:
        shutil.rmtree(dist, ignore_errors=True)
        session.run("pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(dist), ".")
        _built.add(dist)
    (wheel,) = dist.glob("*.whl")
    session.install(f"{wheel}[simulate,dra]")
    session.install("--no-deps", "--force-reinstall", str(wheel))


_built: set[Path] = set()

# Neither the folder nor a script's own is put on the path, so that the wheel is what is imported.
_ENVIRONMENT = {"PYTHONSAFEPATH": "1"}


def _under_test(session: nox.Session, *groups: str) -> None:
    """Install the wheel, and what these groups name beside it."""
    _dependency_group(session, *groups)
    _install_wheel(session)


def _pytest(session: nox.Session, *words: str, folders: Sequence[str] = ()) -> None:
    """Run pytest on the files that follow `--` on nox's command line, or else on these folders."""
    words += _selection(session.posargs, folders)
    if not os.environ.get("COVERAGE") or not _is_newest(session):
        session.run("pytest", *words, env=_ENVIRONMENT)
        return
    _dependency_group(session, "coverage")
    COVERAGE_DATA.parent.mkdir(parents=True, exist_ok=True)
    core = "ctrace" if PYTHONS[-1][0] == "3.11" else "sysmon"
    measured = _ENVIRONMENT | {"COVERAGE_FILE": str(COVERAGE_DATA), "COVERAGE_CORE": core}
    session.run("coverage", "run", "-m", "pytest", *words, env=measured)


def _selection(given: Sequence[str], folders: Sequence[str]) -> tuple[str, ...]:
    """Give pytest's words: options alone leave the folders, files or tests take their place."""
    names_tests = any(Path(word.partition("::")[0]).exists() for word in given)
    return (*([] if names_tests else folders), *given)


def _is_newest(session: nox.Session) -> bool:
    own_is_newest = PYTHONS[-1][0] == OWN_PYTHON
    return session.python == NEWEST_PYTHON or (session.python is None and own_is_newest)


def _program(session: nox.Session, name: str, group: str = "test") -> None:
    """Run one of the tests' own programs, which measures, plays or fuzzes at length."""
    _under_test(session, group)
    session.run("python", "-m", f"tests.{name}", *session.posargs)


@nox.session
def fast(session: nox.Session) -> None:
    """Style, imports, types and the fast tests, on one Python; `-- FILE...` for other tests."""
    _under_test(session, "lint", "test")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("lint-imports")
    session.run("mypy")
    _pytest(session, AT_ONCE, "-m", "not slow", folders=FAST_TESTS)


@nox.session(tags=["check"])
def slow(session: nox.Session) -> None:
    """Run the tests that take seconds each, on the same Python."""
    _under_test(session, "test")
    _pytest(session, AT_ONCE, "-m", "slow", folders=FAST_TESTS)


@nox.session(tags=["check"])
def types(session: nox.Session) -> None:
    """Strict type checks of the tests and the scripts."""
    _dependency_group(session, "lint", "test", "monitoring")
    session.install("-e", ".[simulate,dra]")
    session.run("mypy", "tests", "noxfile.py", "ta/signing.py", "deploy/executable/build.py")
    session.run("mypy", "hatch_build.py", "deploy/executable/unpack.py")
    session.run("mypy", "deploy/release/release.py", "deploy/release/debian_base.py")
    # One at a time: both are scripts of their own, and no package holds them.
    session.run("mypy", "deploy/docker/assemble.py", "deploy/docker/sbom.py")
    # As its author would, with the settings of its own.
    with session.chdir("tests/example_backend"):
        session.run("mypy")


@nox.session
@nox.parametrize(
    "python",
    [
        nox.param(path, id=version, tags=[] if version == OWN_PYTHON else ["check"])
        for version, path in PYTHONS
    ],
)
def tests(session: nox.Session) -> None:
    """Run the fast and the slow tests of the code, on each Python that is there."""
    _under_test(session, "test")
    _pytest(session, AT_ONCE, folders=OF_THE_CODE)


@nox.session
def coverage(session: nox.Session) -> None:
    """Say which lines the sessions before ran, where COVERAGE=1 was set for them; at least 96 %."""
    _dependency_group(session, "coverage")
    environment = {"COVERAGE_FILE": str(COVERAGE_DATA)}
    session.run("coverage", "combine", "--quiet", env=environment)
    least = f"--fail-under={LEAST_COVERAGE}"
    session.run("coverage", "report", "--skip-covered", "--sort=cover", least, env=environment)


@nox.session(tags=["check"], python=NEWEST_PYTHON)
def tee(session: nox.Session) -> None:
    """Test the C parts, and the libteec backend on a test libteec, as any user; wants gcc."""
    _under_test(session, "test")
    _pytest(session, folders=("tests/tee",))


@nox.session(python=NEWEST_PYTHON)
def tee_real(session: nox.Session) -> None:
    """Compare the mocks with iTrustee's own: `-- /usr/lib64/libteec.so [/usr/bin/tee_teleport]`."""
    names = ("TEEPLUGIN_REAL_LIBTEEC", "TEEPLUGIN_REAL_TELEPORT")
    if not 1 <= len(session.posargs) <= len(names):
        session.error("give a library's path: nox -s tee_real -- /usr/lib64/libteec.so")
    _under_test(session, "test")
    env = _ENVIRONMENT | dict(zip(names, session.posargs, strict=False))
    tests = [f"tests/tee/test_{name}.py" for name in ("itrustee_library", "teleport")]
    session.run("pytest", "-v", *tests[: len(session.posargs)], env=env)


@nox.session(tags=["check"])
def deploy(session: nox.Session) -> None:
    """Check scripts, Dockerfiles and manifests, the install on a host, and the image's parts."""
    _under_test(session, "test", "deploy")
    session.run("yamllint", "--strict", "-c", "deploy/.yamllint", "deploy")
    scripts = (*ROOT.glob("deploy/*/*.sh"), *ROOT.glob("deploy/demo/mock/*/bin/*"))
    # SC2093 means an exec in a loop, as the executable's header has: it is the loop's end.
    session.run("shellcheck", "--exclude=SC2093", *map(str, sorted(scripts)))
    session.run("hadolint", *map(str, sorted(ROOT.glob("deploy/*/Dockerfile"))))
    _pytest(session, folders=("tests/deploy", "tests/chart"))


@nox.session(tags=["check"])
def monitoring(session: nox.Session) -> None:
    """Try alerts, dashboard and their documents against the plugin's metrics, with promtool."""
    _under_test(session, "test", "monitoring")
    _pytest(session, folders=("tests/monitoring",))


@nox.session
def requirements(session: nox.Session) -> None:
    """Pin what the executable and the image are made of anew, with the hashes of all its files."""
    _dependency_group(session, "requirements")
    session.run(
        *("uv", "pip", "compile", "--universal", "--python-version", "3.11", "--generate-hashes"),
        *("--upgrade", "--quiet", "--no-emit-index-url", "--custom-compile-command"),
        *("nox -s requirements", "--output-file", "deploy/docker/requirements.txt"),
        *("--extra", "dra"),  # in the image, where nobody could add it
        "pyproject.toml",
    )


@nox.session
def audit(session: nox.Session) -> None:
    """Ask PyPI which of the image's pins have known vulnerabilities; needs the network."""
    _dependency_group(session, "audit")
    report = Path(session.create_tmp()).resolve() / "audit.json"
    report.unlink(missing_ok=True)
    session.run(
        *("pip-audit", "--requirement", "deploy/docker/requirements.txt", "--require-hashes"),
        *("--disable-pip", "--vulnerability-service", "pypi", "--progress-spinner", "off"),
        *("--format", "json", "--output", str(report)),
        # 1 is for vulnerabilities as well as for no network: the report tells which.
        success_codes=[0, 1],
        silent=True,
    )
    pins = json.loads(report.read_text(encoding="utf-8"))["dependencies"] if report.exists() else []
    vulnerable = [
        f"{pin['name']} {pin['version']}: {flaw['id']}, mended in "
        f"{' or '.join(flaw['fix_versions']) or 'no version yet'}"
        for pin in pins
        for flaw in pin.get("vulns", ())
    ]
    if vulnerable:
        session.error(f"{'; '.join(vulnerable)}: run nox -s requirements")
    # Pins that it couldn't ask about it passes over, and finds nothing wrong.
    if not pins or any("skip_reason" in pin for pin in pins):
        session.error("nothing is known: PyPI's JSON interface isn't reachable from here")
    session.log(f"none of {len(pins)} pins has a known vulnerability")


@nox.session
def cluster(session: nox.Session) -> None:
    """Run the plugin on a real one-node cluster; `-- --keep`, `-- FILE`, `-- --kubernetes V`."""
    _under_test(session, "test")
    # With each test's name, which is the list of what is guaranteed, and the times they print.
    _pytest(session, "-v", "-s", folders=("tests/cluster",))


@nox.session
def matrix(session: nox.Session) -> None:
    """Run the cluster suites on one version and write its row: `-- 1.33.13 --containerd 1.6`."""
    _program(session, "cluster.matrix")


@nox.session
def bench(session: nox.Session) -> None:
    """Print what start, lists, flips and Allocate cost, beside the budgets."""
    _program(session, "bench")


@nox.session
def chaos(session: nox.Session) -> None:
    """Play 500 random interleavings of faults, simulated kubelets; `-- --first SEED --count N`."""
    _program(session, "chaos")


@nox.session
def soak(session: nox.Session) -> None:
    """Have thousands of things happen to the plugin; it must stay as large as it was; wants gcc."""
    _program(session, "soak")


# There are wheels of the fuzzer for these only; the first that is there will do.
_FUZZED_BY = [
    nox.param(path, id=version) for version, path in PYTHONS if version in ("3.11", "3.12", "3.13")
]


@nox.session
@nox.parametrize("python", _FUZZED_BY[:1])
def fuzz(session: nox.Session) -> None:
    """Fuzz all parsers, 10 minutes each; `-- TARGET... --seconds N`, `-- --list`."""
    _program(session, "fuzz", "fuzz")


@nox.session
def picture(session: nox.Session) -> None:
    """Draw docs/live-view.svg anew, from a live view that runs in a terminal."""
    _under_test(session, "test")
    session.run("python", "-m", "tests.picture", "docs/live-view.svg")


@nox.session
def package(session: nox.Session) -> None:
    """Build the plugin as one file, pkg/tee-device-plugin."""
    _dependency_group(session, "package")
    session.run("python", "deploy/executable/build.py", "pkg/tee-device-plugin")
    session.run(str(ROOT / "pkg" / "tee-device-plugin"), "simulate", external=True)


@nox.session
def release(session: nox.Session) -> None:
    """Build a release into dist/: packages, executable, images, SBOMs, sums; `-- --no-image`."""
    _dependency_group(session, "package")
    session.run("python", "deploy/release/release.py", "dist", *session.posargs)


def _generate(session: nox.Session, target: Path) -> None:
    _dependency_group(session, "api")
    for package, version in API_PACKAGES.items():
        out = target / package
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        session.run(
            *("python", "-m", "grpc_tools.protoc", "-I", f"protos/{package}"),
            f"--python_betterproto2_out={out}",
            f"--python_betterproto2_opt={API_OPTIONS}",
            f"protos/{package}/{version}/{package}.proto",
        )


@nox.session
def api(session: nox.Session) -> None:
    """Generate teeplugin/api/ from protos/ anew."""
    _generate(session, ROOT / "teeplugin" / "api")


@nox.session(tags=["check"])
def api_unchanged(session: nox.Session) -> None:
    """Fail if teeplugin/api/ isn't what protos/ generate."""
    fresh = Path(session.create_tmp()).resolve()
    _generate(session, fresh)
    for package in API_PACKAGES:
        committed = ROOT / "teeplugin" / "api" / package
        generated = (fresh / package).rglob("*.py")
        names = sorted(str(path.relative_to(fresh / package)) for path in generated)
        _, different, missing = filecmp.cmpfiles(fresh / package, committed, names, shallow=False)
        if different or missing:
            session.error(f"{committed}: {different + missing} differ from protos/: run nox -s api")
