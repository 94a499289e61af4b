"""A Python file with one function that says how good completions are: its text travels in the run's spec, with its SHA-256."""

from pathlib import Path
from typing import Any

from llmlab.recipe_files import RecipeFile, TextFile

WANTED = RecipeFile("grpo.rewards", "the reward", "llmlab launch --set grpo.rewards=[exact_match]")
OPTION = RecipeFile("--reward", "the reward", "llmlab validate --help")


class RewardFile(TextFile):
    """A reward's file."""

    def asked(self) -> dict[str, Any]:
        """The reward as the process that computes rewards reads it."""
        return {"kind": "file", "name": self.file, "text": self.text, "sha256": self.sha256}


def beside(recipe: Path, name: str) -> RewardFile:
    """The reward in a file of the recipe's folder or below.

    Raises:
        UsageError: it lies elsewhere, or as `read`.
    """
    return RewardFile.of(name, WANTED.beside(recipe, name))


def read(name: str, path: Path, wanted: RecipeFile = WANTED) -> RewardFile:
    """The reward in a file that is called `name`.

    Raises:
        UsageError: there is no such file, or it is empty, too large or no text.
    """
    return RewardFile.of(name, wanted.read(name, path))
