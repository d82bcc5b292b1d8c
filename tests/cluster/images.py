"""The two container images of the lab, put together from this machine's own parts.

`pause` holds a pod's namespaces, `busybox` is what test pods run. Each is an OCI image in a
tar file, with one layer; the same parts make the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.settings import HERE, cache_directory

PAUSE = "lab.local/pause:1"
BUSYBOX = "lab.local/busybox:1"

_OCI = "application/vnd.oci.image"
_DIRECTORIES = ("bin", "dev", "etc", "proc", "root", "sys", "tmp", "var")
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_COMPILE = ("gcc", "-static", "-Os", "-Wall", "-Werror", "-s", "-Wl,--build-id=none")


@dataclass(frozen=True)
class Image:
    """An image to import: its name and its tar file."""

    name: str
    tar: Path


def ensure() -> tuple[Image, ...]:
    """Return the images, building them first where the cache lacks them."""
    busybox = Path(shutil.which("busybox") or "busybox").resolve()
    source = HERE / "pause.c"
    key = hashlib.sha256()
    for part in (Path(__file__), source, busybox):
        key.update(part.read_bytes())
    directory = cache_directory() / "images" / key.hexdigest()[:12]
    images = (Image(PAUSE, directory / "pause.tar"), Image(BUSYBOX, directory / "busybox.tar"))
    if not directory.is_dir():
        directory.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=directory.parent, prefix=".build-") as scratch:
            draft = Path(scratch, "images")
            draft.mkdir()
            (draft / "pause.tar").write_bytes(_pause(source, Path(scratch, "pause")))
            (draft / "busybox.tar").write_bytes(_busybox(busybox))
            if not directory.is_dir():
                draft.rename(directory)
    return images


def _pause(source: Path, program: Path) -> bytes:
    subprocess.run([*_COMPILE, "-o", program, source], check=True)
    return image_tar(PAUSE, {"pause": program.read_bytes()}, {}, ["/pause"])


def _busybox(program: Path) -> bytes:
    listed = subprocess.run([program, "--list"], check=True, capture_output=True, text=True)
    links = {f"bin/{name}": "busybox" for name in listed.stdout.split() if name != "busybox"}
    return image_tar(BUSYBOX, {"bin/busybox": program.read_bytes()}, links, ["/bin/sh"])


def image_tar(
    name: str,
    programs: Mapping[str, bytes],
    links: Mapping[str, str],
    command: Sequence[str],
) -> bytes:
    """Put together an OCI image of one layer, with the directories and users every image has."""
    files = {"etc/passwd": b"root:x:0:0:root:/root:/bin/sh\n", "etc/group": b"root:x:0:\n"}
    layer = _tar(directories=_DIRECTORIES, files=files, programs=programs, links=links)
    system = {"architecture": _ARCHITECTURES[platform.machine()], "os": "linux"}
    config = _json(
        system
        | {
            "config": {"Cmd": list(command), "Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": f"{_OCI}.manifest.v1+json",
            "config": _descriptor(f"{_OCI}.config.v1+json", config),
            "layers": [_descriptor(f"{_OCI}.layer.v1.tar", layer)],
        }
    )
    named = _descriptor(f"{_OCI}.manifest.v1+json", manifest) | {
        "platform": system,
        "annotations": {
            "io.containerd.image.name": name,
            "org.opencontainers.image.ref.name": name.rpartition(":")[2],
        },
    }
    entries = {
        "oci-layout": _json({"imageLayoutVersion": "1.0.0"}),
        "index.json": _json({"schemaVersion": 2, "manifests": [named]}),
    }
    for blob in (layer, config, manifest):
        entries["blobs/" + _digest(blob).replace(":", "/")] = blob
    return _tar(files=entries)


def _tar(
    *,
    directories: Sequence[str] = (),
    files: Mapping[str, bytes] | None = None,
    programs: Mapping[str, bytes] | None = None,
    links: Mapping[str, str] | None = None,
) -> bytes:
    """Write a tar file; times and owners are all zero, so that it depends on its content only."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path in directories:
            entry = tarfile.TarInfo(path)
            entry.type = tarfile.DIRTYPE
            entry.mode = 0o1777 if path == "tmp" else 0o755
            tar.addfile(entry)
        for mode, contents in ((0o644, files), (0o755, programs)):
            for path, content in (contents or {}).items():
                entry = tarfile.TarInfo(path)
                entry.mode = mode
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
        for path, target in sorted((links or {}).items()):
            entry = tarfile.TarInfo(path)
            entry.type = tarfile.SYMTYPE
            entry.linkname = target
            tar.addfile(entry)
    return out.getvalue()


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _digest(blob: bytes) -> str:
    return "sha256:" + hashlib.sha256(blob).hexdigest()


def _descriptor(media_type: str, blob: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": _digest(blob), "size": len(blob)}
