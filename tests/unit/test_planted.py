"""The table of planted bugs holds what `python -m tests.planted` needs of it."""

import ast

import pytest

from tests.planted.bug import ROOT, Bug
from tests.planted.table import BUGS


def test_there_are_so_many_bugs_and_each_has_a_name_of_its_own() -> None:
    assert len({bug.name for bug in BUGS}) == len(BUGS) == 23


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_bug_can_still_be_planted(bug: Bug) -> None:
    """Where this fails, the source has changed: give the row the text of today, at the place where what it is about went."""
    source = (ROOT / bug.path).read_text(encoding="utf-8")
    assert source.count(bug.text) == 1
    planted = source.replace(bug.text, bug.replacement)
    assert ast.dump(ast.parse(planted)) != ast.dump(ast.parse(source))
    assert bug.harm
    assert bug.tests
    assert all((ROOT / "tests" / file).is_file() for file in bug.tests)
