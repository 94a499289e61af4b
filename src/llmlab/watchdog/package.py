"""The watchdog's zip: the same source gives the same bytes, so that an unchanged watchdog is never uploaded again."""

import io
import zipfile
from pathlib import Path

import llmlab

EPOCH = (1980, 1, 1, 0, 0, 0)
"""The oldest time a zip can hold, given to every file."""
SHARED = ("__init__.py", "clock.py", "contract.py", "fleet.py", "money.py", "pricing.py", "timers.py")


def build() -> bytes:
    """The zip of the Lambda function: this package and the modules it shares with the command line, without boto3, which Lambda brings."""
    root = Path(llmlab.__file__).parent
    own = sorted(path.name for path in (root / "watchdog").glob("*.py") if path.name != Path(__file__).name)
    names = [*SHARED, *(f"watchdog/{name}" for name in own)]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in names:
            entry = zipfile.ZipInfo(f"llmlab/{name}", date_time=EPOCH)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix, also when built on Windows
            archive.writestr(entry, (root / name).read_bytes())
    return buffer.getvalue()
