"""A wheel of the llmlab that is installed here, for machines that install it: the user's own workflow takes this file, by its hash.

Nobody publishes llmlab under its name, so a requirement that names it would install whatever somebody else registers there, in a job that
signs in to AWS. A wheel is a zip file: https://packaging.python.org/en/latest/specifications/binary-distribution-format/
"""

import base64
import importlib.metadata
import io
import os
import zipfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import llmlab

PACKAGE = Path(llmlab.__file__).parent
NAME = f"llmlab-{llmlab.__version__}-py3-none-any.whl"
DIST_INFO = f"llmlab-{llmlab.__version__}.dist-info"
LOCK = Path("docker/locks/cli.lock")
"""Below the package: what the command line needs, each package with its hashes."""
WHEEL = "Wheel-Version: 1.0\nGenerator: llmlab\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
ENTRY_POINTS = "[console_scripts]\nllmlab = llmlab.cli:main\n"
LOCKS = ("torch.lock", "cuda.lock", "image.lock", "agent.lock", "cli.lock")
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip file can tell: the same files are the same bytes."""


def build() -> bytes:
    """The wheel's bytes: the same for the same installed files."""
    metadata = importlib.metadata.distribution("llmlab").read_text("METADATA") or ""
    contents = {name: path.read_bytes() for name, path in files()}
    contents |= {f"{DIST_INFO}/{name}": text.encode() for name, text in _description(metadata).items()}
    record = [f"{name},sha256={_digest(body)},{len(body)}" for name, body in contents.items()]
    contents[f"{DIST_INFO}/RECORD"] = "\n".join([*record, f"{DIST_INFO}/RECORD,,", ""]).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, body in contents.items():
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            wheel.writestr(entry, body)
    return buffer.getvalue()


def lock() -> str:
    """What the command line needs, at the locked versions, as pip reads it with `--require-hashes`."""
    return dict(files())[f"llmlab/{LOCK.as_posix()}"].read_text(encoding="utf-8")


def files() -> Iterator[tuple[str, Path]]:
    """Each file of the package by its name in a wheel, in order. A clone's build context, which lies beside its package, moves into it."""
    for folder, folders, names in os.walk(PACKAGE, followlinks=True):  # a clone's templates and recipes are links
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for name in sorted(names):
            path = Path(folder, name)
            yield f"llmlab/{path.relative_to(PACKAGE).as_posix()}", path
    clone = PACKAGE.parent.parent
    if not (PACKAGE / "docker").is_dir():
        yield from ((f"llmlab/docker/{name}", clone / "docker" / name) for name in ("Dockerfile", "layers.py"))
        yield "llmlab/docker/LICENSE", clone / "LICENSE"
        yield from ((f"llmlab/docker/locks/{name}", clone / "locks" / name) for name in LOCKS)


def _description(metadata: str) -> dict[str, str]:
    return {"METADATA": metadata, "WHEEL": WHEEL, "entry_points.txt": ENTRY_POINTS}


def _digest(body: bytes) -> str:
    return base64.urlsafe_b64encode(sha256(body).digest()).rstrip(b"=").decode()
