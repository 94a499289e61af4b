"""A chat template that a recipe brings in place of its model's own: a file's text, which travels in the run's spec with its SHA-256.

The form is Jinja's, as transformers has it: https://huggingface.co/docs/transformers/main/en/chat_templating_writing.
"""

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from llmlab.recipe_files import MOST_BYTES, RecipeFile, TextFile

LAB = "lab:"
"""`lab:NAME` is a model that was uploaded with `llmlab upload --model NAME`."""
MODELS_OWN = "llmlab launch --set chat_template=null"
WANTED = RecipeFile("chat_template", "the chat template", MODELS_OWN, alone=True)


class ChatTemplate(TextFile):
    """A chat template with its text; that of an uploaded model, which `lab:NAME` names, gets its text before a run."""

    sha256: str = ""
    text: str = Field("", max_length=MOST_BYTES)

    @model_validator(mode="after")
    def _has_text(self) -> Self:
        if not self.text and not self.lab_model:
            raise ValueError(f"must have the text of {self.file}")
        return self

    @property
    def lab_model(self) -> str | None:
        """The uploaded model whose template is meant, None for a file."""
        return self.file.removeprefix(LAB) if self.file.startswith(LAB) else None


def of(name: str, text: str) -> ChatTemplate:
    """A template that is called `name`.

    Raises:
        UsageError: its text cannot be one.
    """
    return ChatTemplate.of(name, WANTED.checked(name, text))


def beside(recipe: Path, name: str) -> ChatTemplate:
    """The template in a file of the recipe's folder or below.

    Raises:
        UsageError: it lies elsewhere, or as `read`.
    """
    return ChatTemplate.of(name, WANTED.beside(recipe, name))


def read(name: str, path: Path) -> ChatTemplate:
    """The template in a file that is called `name`.

    Raises:
        UsageError: there is no such file, or it cannot be a template.
    """
    return ChatTemplate.of(name, WANTED.read(name, path))
