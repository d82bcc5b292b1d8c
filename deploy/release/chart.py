"""Packs the Helm chart, as `helm package` does, but the same bytes from the same commit."""

import gzip
import io
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

NAME: Final = "tee-device-plugin"


def pack(chart: Path, out: Path, version: str, epoch: int) -> Path:
    """Pack a chart's folder into a folder, with this version for the chart and its application."""
    archive = out / f"{NAME}-{version}.tgz"
    with (
        archive.open("wb") as raw,
        gzip.GzipFile("", "wb", fileobj=raw, mtime=epoch) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for path in _files(chart):
            content = path.read_bytes()
            if path == chart / "Chart.yaml":
                content = stamped(content.decode(), version).encode()
            member = tarfile.TarInfo(f"{NAME}/{path.relative_to(chart)}")
            member.size, member.mtime, member.mode = len(content), epoch, 0o644
            tar.addfile(member, io.BytesIO(content))
    return archive


def stamped(text: str, version: str) -> str:
    """Give Chart.yaml's text with this version, and without the mark of one that isn't released."""
    text = re.sub(r"^(version|appVersion): .*$", rf"\1: {version}", text, flags=re.MULTILINE)
    prerelease = "true" if re.search(r"[-+]", version) else "false"
    return re.sub(r'(prerelease: )"\w+"', rf'\1"{prerelease}"', text)


def _files(chart: Path) -> Iterator[Path]:
    """Give what belongs in the package: Chart.yaml first, and nothing that .helmignore names."""
    ignored = [line for line in (chart / ".helmignore").read_text().split() if line]
    files = [path for path in sorted(chart.rglob("*")) if path.is_file()]
    kept = [path for path in files if not any(path.match(pattern) for pattern in ignored)]
    yield chart / "Chart.yaml"
    yield from (path for path in kept if path != chart / "Chart.yaml")
