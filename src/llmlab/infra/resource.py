"""The base class of every resource declaration.

A subclass is a frozen dataclass with all verbs of one kind of resource. The engine decides whether to change it, the resource knows
how, and never compares. A field that holds another resource (or a tuple of them) is a dependency.
"""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

Properties = Mapping[str, Any]
"""Property → value, of JSON's types only."""


class Exists(Exception):
    """Raised by `create`: the resource exists already, because somebody else was quicker."""


class Missing(Exception):
    """Raised by `delete`: the resource does not exist any more."""


@dataclass(frozen=True, kw_only=True)
class Resource(ABC):
    """One declared resource. Its identity is `kind` and `name`, both known before anything exists."""

    kind: ClassVar[str]
    retained: ClassVar[bool] = False
    """The resource holds results: teardown keeps it, except with `everything`."""
    shared: ClassVar[bool] = False
    """The resource belongs to the account once it exists, and is never deleted."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The resource's name: deterministic, computable in an empty account."""

    @property
    def key(self) -> str:
        return f"{self.kind} {self.name}"

    @abstractmethod
    def desired(self) -> Properties:
        """The desired value of every owned property, in names and never in ids."""

    @abstractmethod
    def read(self) -> Properties | None:
        """The same properties as they are now, or None when the resource does not exist."""

    def exists(self) -> bool:
        return self.read() is not None

    @abstractmethod
    def create(self) -> None:
        """Create the minimal resource, tagged in the same call. Raises `Exists`."""

    @abstractmethod
    def update(self, differs: Properties) -> None:
        """Set these properties to their desired values."""

    @abstractmethod
    def delete(self) -> None:
        """Delete the resource and its contents. Raises `Missing`."""

    @abstractmethod
    def ours(self) -> bool:
        """Whether the existing resource of this name carries the lab's tags. Called only before it would be changed or deleted."""

    def way_out(self) -> str:
        """The command to run when a resource of another owner has this name."""
        return "LLMLAB_LAB=another-name llmlab bootstrap"

    def dependencies(self) -> tuple["Resource", ...]:
        dependencies: list[Resource] = []
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            dependencies += [resource for resource in (value if isinstance(value, tuple) else (value,)) if isinstance(resource, Resource)]
        return tuple(dependencies)
