"""Every target by name."""

from collections.abc import Callable

from tests.fuzz import cloud, datasets, documents, settings

UNLED = frozenset({"parquet", "parquet-rows", "arrow"})
"""Read by pyarrow, in C++, whose branches are not seen: hypothesis bends their corpus instead."""
SUBJECTS = {"datasets": datasets.TARGETS, "settings": settings.TARGETS, "documents": documents.TARGETS, "cloud": cloud.TARGETS}
TARGETS = {**datasets.TARGETS, **settings.TARGETS, **documents.TARGETS, **cloud.TARGETS}


def any_of(subject: str) -> tuple[list[str], Callable[[bytes], None]]:
    """All targets of a subject as one, for a short search: the first byte says which; and their names in that order."""
    names = [name for name in SUBJECTS[subject] if name not in UNLED]

    def target(data: bytes) -> None:
        if data:
            TARGETS[names[data[0] % len(names)]](data[1:])

    return names, target
