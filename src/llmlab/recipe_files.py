"""Files that a recipe names: their text is read where the recipe is, and travels in the run's spec with its SHA-256."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from shlex import quote
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from llmlab.errors import UsageError, one_line

MOST_BYTES = 64 << 10
"""Bytes of the largest such file: a spec is read in one piece by all who look at a run. The longest chat template that models
are published with has about 30 KiB (Cohere's, for tools and citations)."""


class TextFile(BaseModel):
    """The text of a file, and the name that it had."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str = Field(min_length=1, max_length=4096)
    sha256: str
    text: str = Field(min_length=1, max_length=MOST_BYTES)

    @classmethod
    def of(cls, name: str, text: str) -> Self:
        """The file that is called `name` and has this text."""
        return cls(file=name, sha256=sha256(text.encode()).hexdigest(), text=text)

    @classmethod
    def named(cls, value: object) -> object:
        """Check a field's value as it stands in a recipe or a spec.

        Raises:
            ValueError: it is neither such a file nor what stands for one.
        """
        if not isinstance(value, (cls, dict, type(None))):
            raise ValueError("must be the name of a file")  # noqa: TRY004 - pydantic makes words of this one
        return value

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.text and sha256(self.text.encode("utf-8", "surrogatepass")).hexdigest() != self.sha256:
            raise ValueError(f"must have the SHA-256 of the text of {self.file}")
        return self


@dataclass(frozen=True)
class RecipeFile:
    """A kind of file that a recipe names. `field` is the field or the option that names it, `what` its name in a sentence.

    `alone`: the field holds nothing else, so that `--set` takes a path for it.
    """

    field: str
    what: str
    hint: str
    alone: bool = False

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
            instead = f"llmlab launch --set {quote(f'{self.field}={path}')}" if self.alone else f"${{EDITOR:-vi}} {quote(str(recipe))}"
            raise UsageError(f"{self.field} names {one_line(name)}, which does not lie beside {recipe.name}", instead)
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
                raw = stream.read(MOST_BYTES + 1)
            if len(raw) > MOST_BYTES:
                raise self.too_large(name)
            return self.checked(name, raw.decode().replace("\r\n", "\n"))
        except (OSError, ValueError) as error:
            raise self._unreadable(name, error) from error

    def checked(self, name: str, text: str) -> str:
        """The text, if it can be a file's.

        Raises:
            UsageError: it is too large or empty.
        """
        if len(text.encode()) > MOST_BYTES:
            raise self.too_large(name)
        if not text.strip():
            raise UsageError(f"{self.what} {one_line(name)} is empty", self.hint)
        return text

    def too_large(self, name: str) -> UsageError:
        return UsageError(f"{self.what} {one_line(name)} is larger than {MOST_BYTES >> 10} KiB", self.hint)

    def _unreadable(self, name: str, error: Exception) -> UsageError:
        return UsageError(f"{self.what} {one_line(name)} cannot be read: {one_line(error)}", self.hint)
