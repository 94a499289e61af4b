"""A chat template that a recipe brings in place of its model's own: a file's text, which travels in the run's spec with its SHA-256.

The form is Jinja's, as transformers has it: https://huggingface.co/docs/transformers/main/en/chat_templating_writing.
"""

from hashlib import sha256
from pathlib import Path
from shlex import quote
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from llmlab.errors import UsageError, one_line

MOST_BYTES = 64 << 10
"""Of a template's file; the longest that models are published with have about 30 KiB (Cohere's, for tools and citations)."""
LAB = "lab:"
"""`lab:NAME` is a model that was uploaded with `llmlab upload --model NAME`."""
MODELS_OWN = "llmlab launch --set chat_template=null"


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
    if len(text.encode()) > MOST_BYTES:
        raise _too_large(name)
    if not text.strip():
        raise UsageError(f"the chat template {one_line(name)} is empty", MODELS_OWN)
    return ChatTemplate(file=name, sha256=sha256(text.encode()).hexdigest(), text=text)


def beside(recipe: Path, name: str) -> ChatTemplate:
    """The template in a file of the recipe's folder or below: a recipe may be a stranger's, and must not send what lies elsewhere.

    Raises:
        UsageError: it lies elsewhere, or as `read`.
    """
    try:
        folder = recipe.parent.resolve()
        path = (folder / name).resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise _unreadable(name, error) from error
    if not path.is_relative_to(folder):
        raise UsageError(
            f"chat_template names {one_line(name)}, which does not lie beside {recipe.name}",
            f"llmlab launch --set {quote(f'chat_template={path}')}",
        )
    return read(name, path)


def read(name: str, path: Path) -> ChatTemplate:
    """The template in a file that is called `name`.

    Raises:
        UsageError: there is no such file, or it cannot be a template.
    """
    try:
        if not path.is_file():
            raise UsageError(f"chat_template names {one_line(path)}, and there is no such file", MODELS_OWN)
        with path.open("rb") as stream:
            raw = stream.read(MOST_BYTES + 1)
        if len(raw) > MOST_BYTES:
            raise _too_large(name)
        text = raw.decode().replace("\r\n", "\n")
    except (OSError, ValueError) as error:
        raise _unreadable(name, error) from error
    return of(name, text)


def _too_large(name: str) -> UsageError:
    return UsageError(f"the chat template {one_line(name)} is larger than {MOST_BYTES >> 10} KiB", MODELS_OWN)


def _unreadable(name: str, error: Exception) -> UsageError:
    return UsageError(f"the chat template {one_line(name)} cannot be read: {one_line(error)}", MODELS_OWN)
