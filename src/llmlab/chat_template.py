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
MODELS_OWN = "llmlab launch --set chat_template=null"


class ChatTemplate(BaseModel):
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


def beside(recipe: Path, name: str) -> ChatTemplate:
    """The template in a file of the recipe's folder or below: a recipe may be a stranger's, and must not send what lies elsewhere.

    Raises:
        UsageError: it lies elsewhere, or as `read`.
    """
    folder = recipe.parent.resolve()
    path = (folder / name).resolve()
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
    if not path.is_file():
        raise UsageError(f"chat_template names {one_line(path)}, and there is no such file", MODELS_OWN, without=["chat_template"])
    try:
        with path.open("rb") as stream:
            raw = stream.read(MOST_BYTES + 1)
        text = raw.decode().replace("\r\n", "\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the chat template {one_line(path)} cannot be read: {one_line(error)}", MODELS_OWN) from error
    if len(raw) > MOST_BYTES:
        raise UsageError(f"the chat template {one_line(path)} is larger than {MOST_BYTES >> 10} KiB", MODELS_OWN)
    if not text.strip():
        raise UsageError(f"the chat template {one_line(path)} is empty", MODELS_OWN)
    return ChatTemplate(file=name, sha256=sha256(text.encode()).hexdigest(), text=text)
