"""A chat template that a recipe brings in place of its model's own: a file's text, which travels in the run's spec with its SHA-256.

The form is Jinja's, as transformers has it: https://huggingface.co/docs/transformers/main/en/chat_templating_writing.
"""

from hashlib import sha256
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from llmlab.recipe_files import Wanted

MOST_BYTES = 64 << 10
"""Of a template's file; the longest that models are published with have about 30 KiB (Cohere's, for tools and citations)."""
LAB = "lab:"
"""`lab:NAME` is a model that was uploaded with `llmlab upload --model NAME`."""
MODELS_OWN = "llmlab launch --set chat_template=null"
WANTED = Wanted("chat_template", "the chat template", MOST_BYTES, MODELS_OWN)


class ChatTemplate(BaseModel):
    """The text of a file, and the name that it had; of a model of the lab, which `lab:NAME` names, the text comes before a run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str = Field(min_length=1, max_length=4096)
    sha256: str = ""
    text: str = Field("", max_length=MOST_BYTES)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if not self.text and not self.lab_model:
            raise ValueError(f"must have the text of {self.file}")
        if self.text and sha256(self.text.encode("utf-8", "surrogatepass")).hexdigest() != self.sha256:
            raise ValueError(f"must have the SHA-256 of the text of {self.file}")
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
    return _made(name, WANTED.checked(name, text))


def beside(recipe: Path, name: str) -> ChatTemplate:
    """The template in a file of the recipe's folder or below.

    Raises:
        UsageError: it lies elsewhere, or as `read`.
    """
    return _made(name, WANTED.beside(recipe, name))


def read(name: str, path: Path) -> ChatTemplate:
    """The template in a file that is called `name`.

    Raises:
        UsageError: there is no such file, or it cannot be a template.
    """
    return _made(name, WANTED.read(name, path))


def _made(name: str, text: str) -> ChatTemplate:
    return ChatTemplate(file=name, sha256=sha256(text.encode()).hexdigest(), text=text)
