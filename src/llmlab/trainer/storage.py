"""What the trainer does to files: whole or absent, also after a power cut."""

from collections.abc import Iterator
from pathlib import Path

from llmlab.files import replace_text, sha256, sync

__all__ = ["files_below", "replace_text", "sha256", "sync"]


def files_below(folder: Path) -> Iterator[Path]:
    """Every regular file below a folder, in a fixed order."""
    return iter(sorted(path for path in folder.rglob("*") if path.is_file()))
