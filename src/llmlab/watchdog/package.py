"""The watchdog's zip: the same source gives the same bytes, so that an unchanged watchdog is never uploaded again."""

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

import llmlab
from llmlab.watchdog.handler import LAB

EPOCH = (1980, 1, 1, 0, 0, 0)
"""The oldest time a zip can hold, given to every file."""
SHARED = ("__init__.py", "clock.py")
FOLDERS = ("contract", "lifecycle", "watchdog")


def build(lab: Mapping[str, str] | None = None) -> bytes:
    """The zip of the Lambda function: this package and the modules it shares with the command line, without boto3, which Lambda brings.

    `lab` is the function's configuration, `contract.Env` → value, packed into the zip instead of an environment.
    """
    root = Path(llmlab.__file__).parent
    folders = [path for folder in FOLDERS for path in sorted((root / folder).glob("*.py")) if path.name != Path(__file__).name]
    contents = {name: (root / name).read_bytes() for name in [*SHARED, *(path.relative_to(root).as_posix() for path in folders)]}
    if lab:
        contents[f"{FOLDERS[-1]}/{LAB}"] = json.dumps(dict(lab), sort_keys=True).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in contents.items():
            entry = zipfile.ZipInfo(f"llmlab/{name}", date_time=EPOCH)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix, also when built on Windows
            archive.writestr(entry, content)
    return buffer.getvalue()
