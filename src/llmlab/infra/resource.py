"""What a declaration of something we own is.

A subclass is a frozen dataclass with all verbs of one kind of thing. The engine decides whether, the resource knows how: it
never compares. A field that holds another resource (or a tuple of them) is a dependency.
"""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

Properties = Mapping[str, Any]
"""Property → value, made of what JSON has."""


class Exists(Exception):
    """Raised by `create`: somebody was quicker."""


class Missing(Exception):
    """Raised by `delete`: it is gone already."""


@dataclass(frozen=True, kw_only=True)
class Resource(ABC):
    """One declaration. Identity is `kind` and `name`, both known before anything exists."""

    kind: ClassVar[str]
    retained: ClassVar[bool] = False
    """Holds results: teardown leaves it, unless everything is to go."""
    shared: ClassVar[bool] = False
    """Belongs to the account once it exists, and is never deleted."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Deterministic, computable in an empty account."""

    @property
    def key(self) -> str:
        return f"{self.kind} {self.name}"

    @abstractmethod
    def desired(self) -> Properties:
        """Every owned property as it should be, in names and never in ids."""

    @abstractmethod
    def read(self) -> Properties | None:
        """The same keys as they are now, or None when it does not exist."""

    def exists(self) -> bool:
        return self.read() is not None

    @abstractmethod
    def create(self) -> None:
        """The least that exists, tagged in the same call. Raises `Exists`."""

    @abstractmethod
    def update(self, differs: Properties) -> None:
        """Set these properties, given as desired."""

    @abstractmethod
    def delete(self) -> None:
        """Remove it and what it contains. Raises `Missing`."""

    @abstractmethod
    def ours(self) -> bool:
        """Whether what exists under this name carries our mark. Asked only before it would be changed or deleted."""

    def way_out(self) -> str:
        """The command for somebody whose name is taken by a stranger."""
        return "LLMLAB_LAB=another-name llmlab bootstrap"

    def dependencies(self) -> tuple["Resource", ...]:
        dependencies: list[Resource] = []
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            dependencies += [resource for resource in (value if isinstance(value, tuple) else (value,)) if isinstance(resource, Resource)]
        return tuple(dependencies)
