"""Money is written in one way, by one function."""

import re
from pathlib import Path

import pytest

from llmlab.lifecycle.billing import dollars

SOURCE = Path(__file__).parents[3] / "src" / "llmlab"
OTHERWISE = re.compile(r"\$\{[^}]*:[^}]*[fg]\}|\.\d+f\} ?\$")


@pytest.mark.parametrize(
    ("amount", "words"),
    [
        (None, ""), (0, "$0.00"), (0.00001, "$0.00"), (0.0039, "$0.0039"), (0.01, "$0.01"), (0.314, "$0.31"), (1234.5, "$1,234.50"),
        (-0.31, "-$0.31"), (-0.00001, "$0.00"), (-0.0039, "-$0.0039"),
    ],
)  # fmt: skip
def test_dollars(amount: float | None, words: str) -> None:
    assert dollars(amount) == words


def test_nobody_else_writes_money() -> None:
    files = [path for path in SOURCE.rglob("*.py") if "trainer" not in path.parts]
    assert len(files) > 200
    found = [f"{path.name}: {line.strip()}" for path in files for line in path.read_text("utf-8").splitlines() if OTHERWISE.search(line)]
    assert [line for line in found if not line.startswith("billing.py")] == []
