"""Files that a recipe names: their text is read where the recipe is, and travels in the run's spec with its SHA-256."""

from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from llmlab.errors import UsageError, one_line


@dataclass(frozen=True)
class Wanted:
    """A kind of file. `field` is the recipe's or the option that names it, `what` what it is called in a sentence."""

    field: str
    what: str
    most_bytes: int
    hint: str

    def beside(self, recipe: Path, name: str) -> str:
        """The text of a file in the recipe's folder or below: a recipe may be a stranger's, and must not send what lies elsewhere.

        Raises:
            UsageError: it lies elsewhere, or as `read`.
        """
        try:
            folder = recipe.parent.resolve()
            path = (folder / name).resolve()
        except (OSError, ValueError, RuntimeError) as error:
            raise self._unreadable(name, error) from error
        if not path.is_relative_to(folder):
            raise UsageError(
                f"{self.field} names {one_line(name)}, which does not lie beside {recipe.name}",
                f"llmlab launch --set {quote(f'{self.field}={path}')}",
            )
        return self.read(name, path)

    def read(self, name: str, path: Path) -> str:
        """The text of a file that is called `name`; its lines end as they do on Unix.

        Raises:
            UsageError: there is no such file, or it is too large, empty or no text.
        """
        try:
            if not path.is_file():
                raise UsageError(f"{self.field} names {one_line(path)}, and there is no such file", self.hint)
            with path.open("rb") as stream:
                raw = stream.read(self.most_bytes + 1)
            if len(raw) > self.most_bytes:
                raise self.too_large(name)
            return self.checked(name, raw.decode().replace("\r\n", "\n"))
        except (OSError, ValueError) as error:
            raise self._unreadable(name, error) from error

    def checked(self, name: str, text: str) -> str:
        """The text, if it can be a file's.

        Raises:
            UsageError: it is too large or empty.
        """
        if len(text.encode()) > self.most_bytes:
            raise self.too_large(name)
        if not text.strip():
            raise UsageError(f"{self.what} {one_line(name)} is empty", self.hint)
        return text

    def too_large(self, name: str) -> UsageError:
        return UsageError(f"{self.what} {one_line(name)} is larger than {self.most_bytes >> 10} KiB", self.hint)

    def _unreadable(self, name: str, error: Exception) -> UsageError:
        return UsageError(f"{self.what} {one_line(name)} cannot be read: {one_line(error)}", self.hint)
