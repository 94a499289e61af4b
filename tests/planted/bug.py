"""One bug: what is written in its place, and who must notice."""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = Path("src/llmlab")


@dataclass(frozen=True)
class Bug:
    """`file` is below `src/llmlab`, `text` occurs in it exactly once, `tests` are the test files near it, below `tests`.

    Choose `text` so short that changes around it leave it alone, and `tests` so few and quick that all of them take seconds.
    """

    name: str
    file: str
    text: str
    replacement: str
    harm: str
    """What it would do to a user."""
    tests: tuple[str, ...]

    @property
    def path(self) -> Path:
        return SOURCE / self.file

    def applies(self, root: Path = ROOT) -> bool:
        """Whether the text is in that file of the tree at `root`, once."""
        file = root / self.path
        return file.is_file() and file.read_text(encoding="utf-8").count(self.text) == 1

    def plant(self, root: Path) -> None:
        """Put it into the tree at `root`."""
        file = root / self.path
        file.write_text(file.read_text(encoding="utf-8").replace(self.text, self.replacement), encoding="utf-8")
