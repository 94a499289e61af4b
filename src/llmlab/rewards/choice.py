"""The rewards that a recipe chooses: one of the list with its settings, or a file, each with its weight."""

import difflib
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from llmlab.rewards.files import RewardFile
from llmlab.rewards.listed import LISTED

PLAIN = ("exact_match", "similarity")
"""Those without settings, which may be named alone."""
KINDS = (*LISTED, "file")


class Length(BaseModel):
    """Characters that a completion should have."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    shortest: int = Field(0, ge=0, le=10_000_000, description="characters; fewer are worth less, none nothing")
    longest: int | None = Field(None, ge=1, le=10_000_000, description="characters; more are worth less, twice as many nothing")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.shortest and self.longest is None:
            raise ValueError("must say shortest or longest, in characters")
        if self.longest is not None and self.longest < self.shortest:
            raise ValueError("must have a longest that is not less than its shortest")
        return self


class Reward(BaseModel):
    """One reward: exactly one of the fields but for `weight`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    exact_match: bool = False
    regex: str | None = Field(None, max_length=10_000)
    json_schema: dict[str, Any] | None = None
    length: Length | None = None
    similarity: bool = False
    file: RewardFile | None = None
    weight: float = Field(1.0, ge=-1000, le=1000, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        """A name alone stands for a reward without settings."""
        if not isinstance(value, str):
            return value
        if value in PLAIN:
            return {value: True}
        if value in KINDS:
            raise ValueError(f"{value} needs its setting, such as {EXAMPLES[value]}")
        near = difflib.get_close_matches(value, KINDS, n=1)
        raise ValueError(f"must be of {', '.join(KINDS)}{f'; the nearest is {near[0]}' if near else ''}")

    @field_validator("regex")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        import re

        try:
            re.compile(pattern or "")
        except (re.error, RecursionError, OverflowError) as error:
            raise ValueError(f"must be a regular expression: {error}") from error
        return pattern

    @field_validator("file", mode="before")
    @classmethod
    def _filed(cls, file: object) -> object:
        return RewardFile.named(file)

    @model_validator(mode="after")
    def _one(self) -> Self:
        chosen = [kind for kind in KINDS if getattr(self, kind) not in (None, False)]
        if len(chosen) != 1:
            raise ValueError(f"must name one reward of {', '.join(KINDS)}")
        if not self.weight:
            raise ValueError("must have a weight that is not 0")
        return self

    @property
    def kind(self) -> str:
        return next(kind for kind in KINDS if getattr(self, kind) not in (None, False))

    def asked(self) -> dict[str, Any]:
        """The reward as the process that computes rewards reads it."""
        if self.file:
            return self.file.asked()
        settings: dict[str, Any] = {"kind": self.kind}
        if self.regex is not None:
            settings["pattern"] = self.regex
        if self.json_schema is not None:
            settings["schema"] = self.json_schema
        return settings | (self.length.model_dump() if self.length else {})

    def shown(self) -> Any:
        """As a person writes it: of a file its name."""
        value = self.file.file if self.file else self.length.model_dump(exclude_none=True) if self.length else getattr(self, self.kind)
        weight = {"weight": self.weight} if self.weight != 1 else {}
        return self.kind if value is True and not weight else {self.kind: value, **weight}


EXAMPLES = {
    "regex": r"{regex: '^\d+$'}",
    "json_schema": "{json_schema: {type: object}}",
    "length": "{length: {longest: 200}}",
    "file": "{file: reward.py}",
}
