"""A Python file with one function that says how good completions are: its text travels in the run's spec, with its SHA-256."""

from hashlib import sha256
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from llmlab.errors import UsageError, one_line

MOST_BYTES = 64 << 10
"""Of a reward's file: a spec is read in one piece by all who look at a run."""
EXAMPLE = "llmlab validate --help"


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


def read(name: str, path: Path) -> RewardFile:
    """The reward in a file that is called `name`.

    Raises:
        UsageError: there is no such file, or it is empty, too large or no text.
    """
    shown = one_line(name)
    try:
        if not path.is_file():
            raise UsageError(f"there is no file {shown} with a reward", EXAMPLE)
        with path.open("rb") as stream:
            raw = stream.read(MOST_BYTES + 1)
        if len(raw) > MOST_BYTES:
            raise UsageError(f"the reward's file {shown} is larger than {MOST_BYTES >> 10} KiB", EXAMPLE)
        text = raw.decode()
    except (OSError, ValueError) as error:
        raise UsageError(f"the reward's file {shown} cannot be read: {one_line(error)}", EXAMPLE) from error
    if not text.strip():
        raise UsageError(f"the reward's file {shown} is empty", EXAMPLE)
    return RewardFile(file=name, sha256=sha256(text.encode()).hexdigest(), text=text)
