"""A Python file with one function that says how good completions are: its text travels in the run's spec, with its SHA-256."""

from hashlib import sha256
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from llmlab.recipe_files import Wanted

MOST_BYTES = 64 << 10
"""Of a reward's file: a spec is read in one piece by all who look at a run."""
WANTED = Wanted("grpo.rewards", "the reward", MOST_BYTES, "llmlab launch --set grpo.rewards=[exact_match]")
OPTION = Wanted("--reward", "the reward", MOST_BYTES, "llmlab validate --help")


class RewardFile(BaseModel):
    """The text of a file, and the name that it had."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str = Field(min_length=1, max_length=4096)
    sha256: str
    text: str = Field(min_length=1, max_length=MOST_BYTES)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if sha256(self.text.encode("utf-8", "surrogatepass")).hexdigest() != self.sha256:
            raise ValueError(f"must have the SHA-256 of the text of {self.file}")
        return self

    def asked(self) -> dict[str, Any]:
        """As the process that computes rewards is asked for it."""
        return {"kind": "file", "name": self.file, "text": self.text, "sha256": self.sha256}


def beside(recipe: Path, name: str) -> RewardFile:
    """The reward in a file of the recipe's folder or below.

    Raises:
        UsageError: it lies elsewhere, or as `read`.
    """
    return _made(name, WANTED.beside(recipe, name))


def read(name: str, path: Path, wanted: Wanted = WANTED) -> RewardFile:
    """The reward in a file that is called `name`.

    Raises:
        UsageError: there is no such file, or it is empty, too large or no text.
    """
    return _made(name, wanted.read(name, path))


def _made(name: str, text: str) -> RewardFile:
    return RewardFile(file=name, sha256=sha256(text.encode()).hexdigest(), text=text)
