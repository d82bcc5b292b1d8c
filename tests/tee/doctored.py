"""A node on which doctor looks at the way through libteec: what the tests of that share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from teeplugin.commands.doctor.model import Report
from tests.doctoring import examined
from tests.tee.asking import Tee, use_teecd
from tests.tee.build import SAMPLE_UUID, USER, write_signed
from tests.tee.teecd import MockTeecd

NODES = ("teelog", "tc_ns_client", "tc_ns_cvm", "tee0", "teepriv0")
LOGIN_FAILS = "init:result:0xFFFF0000"


@dataclass
class Site:
    """A node with a TEE, its device nodes, teecd's socket and the trusted application's file."""

    tee: Tee
    teecd: MockTeecd

    @property
    def root(self) -> Path:
        return self.tee.directory / "node"

    @property
    def application(self) -> Path:
        return self.tee.directory / f"{SAMPLE_UUID}.sec"

    def flags(self, vendor: str = "itrustee", **options: object) -> list[str]:
        library = self.tee.built.library(vendor)
        given = {"library": library, "ta-path": self.application, "user": USER}
        pairs = given | {key.replace("_", "-"): value for key, value in options.items()}
        words = [f"--backend-option={key}={value}" for key, value in pairs.items() if value]
        return [*words, f"--host-root={self.root}", f"--kubelet-dir={self.tee.directory}"]

    async def examined(self, vendor: str = "itrustee", **options: object) -> Report:
        return await examined(*self.flags(vendor, **options), "--listen", "off")


@pytest.fixture(name="site")
def made_site(tee: Tee, kubelet_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    (tee.directory / "node" / "dev").mkdir(parents=True)
    for name in NODES:
        (tee.directory / "node" / "dev" / name).touch()
    (tee.directory / "node" / "var" / "itrustee" / "teecd").mkdir(parents=True)
    with MockTeecd(kubelet_dir / "teecd.sock") as teecd:
        use_teecd(teecd, monkeypatch)
        found = Site(tee, teecd)
        write_signed(found.application)
        yield found
