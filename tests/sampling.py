"""Tables of cases of which `make test` plays some, and `make test-all` all."""

from collections.abc import Iterable
from typing import Any

import pytest


def sampled(cases: Iterable[Any], *kept: Any) -> list[Any]:
    """Parameters for a test, in their order; those that are not kept are slow."""
    every = list(cases)
    missing = [one for one in kept if one not in every]
    assert kept, "a sample needs a case"
    assert not missing, f"the table has no {missing}"
    return [case if case in kept else pytest.param(case, marks=pytest.mark.slow) for case in every]
