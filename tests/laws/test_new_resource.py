"""A new resource takes two files: its module, and its places in `stack.py`. Everything that asks for kinds of resources knows it then."""

import filecmp
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.laws.new_resource.__main__ import LACKED
from tests.planted.bug import ROOT
from tests.planted.trial import scratch

MODULE = Path(__file__).parent / "new_resource/contact_parameter.py"
PLACES = {
    "from llmlab.aws.dashboard import Dashboard\n": "from llmlab.aws.contact_parameter import ContactParameter\n",
    "    Vpc, Subnets,": "    ContactParameter,",
    "        *_watching_the_watchdog(topic, here),\n": '        ContactParameter(address=settings.email or "nobody", **here),\n',
}
"""A text that stands once in `stack.py` → what is written before it."""


@pytest.fixture(scope="module")
def known() -> dict[str, Any]:
    """What a copy of the source says of the resource that it has more: five seconds of CPU, once for all tests of this file."""
    with scratch() as root:
        package = root / "src/llmlab"
        shutil.copy(MODULE, package / "aws")
        list_of_all = package / "stack.py"
        text = list_of_all.read_text(encoding="utf-8")
        for place, addition in PLACES.items():
            assert text.count(place) == 1, f"stack.py has {place!r} no longer once: give PLACES another place"
            text = text.replace(place, addition + place)
        list_of_all.write_text(text, encoding="utf-8")
        touched = changed(filecmp.dircmp(ROOT / "src/llmlab", package, ignore=["__pycache__"]))
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root / "src"), str(ROOT)]), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            [sys.executable, "-m", "tests.laws.new_resource"], env=environment, cwd=root, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return {**json.loads(done.stdout), "touched": touched}


def changed(compared: "filecmp.dircmp[str]", folder: str = "") -> list[str]:
    """Files that are new or different, below the folder."""
    below = [path for name, one in compared.subdirs.items() for path in changed(one, f"{folder}{name}/")]
    return [*(folder + name for name in sorted([*compared.right_only, *compared.diff_files])), *below]


def test_it_takes_two_files(known: dict[str, Any]) -> None:
    assert sorted(known["touched"]) == ["aws/contact_parameter.py", "stack.py"]
    assert (known["whole"], known["documents"]) == ("", 4)


def test_bootstrap_makes_it_and_repairs_it(known: dict[str, Any]) -> None:
    assert (known["planned"], known["spoiled"], known["repaired"]) == (["create"], ["address"], "keep")


def test_teardown_and_doctor_find_it_by_asking_aws(known: dict[str, Any]) -> None:
    assert (known["left before"], known["deleted"], known["left after"]) == (["/llm-tuning-lab/contact"], True, [])


def test_its_price_is_in_what_an_idle_lab_costs(known: dict[str, Any]) -> None:
    assert known["costs"] == [0.05]


def test_the_operator_may_keep_it_and_no_other_one(known: dict[str, Any]) -> None:
    (statement,) = known["allowed"]
    assert statement["Sid"] == "KeepContact"
    assert statement["Resource"] == "arn:aws:ssm:us-east-1:123456789012:parameter/llm-tuning-lab/contact"


def test_what_is_left_out_is_named(known: dict[str, Any]) -> None:
    assert known["unlisted"] == "add to RESOURCES in stack.py: ContactParameter of llmlab.aws.contact_parameter"
    assert sorted(known["lacking"]) == sorted(LACKED)
    for method, (refused, law) in known["lacking"].items():
        assert "Can't instantiate abstract class ContactParameter" in refused
        assert method in refused
        assert law == f"ContactParameter lacks {method}"
