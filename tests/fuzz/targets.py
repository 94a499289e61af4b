"""Every target by name."""

from tests.fuzz import cloud, datasets, documents, settings

UNLED = frozenset({"parquet", "parquet-rows"})
"""Read by pyarrow, in C++, whose branches are not seen: hypothesis bends their corpus instead."""
TARGETS = {**datasets.TARGETS, **settings.TARGETS, **documents.TARGETS, **cloud.TARGETS}
