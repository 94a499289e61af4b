"""Commands that install the packages of an extra of llmlab: by their own names, because llmlab itself is on no package index."""

import importlib.metadata
import importlib.util
import re
import shlex
from collections.abc import Callable

from llmlab.errors import LabError

MODULES = {"sandbox": ("moto",), "trainer": ("torch", "transformers", "peft")}
"""The modules of an extra that its commands cannot do without, by the names they are imported by."""
EXTRA = re.compile(r"""extra == ['"]([a-z]+)['"]""")


def install_command(extra: str) -> str:
    """The pip command with each requirement of the extra, as the metadata of the installed package lists them."""
    requirements = importlib.metadata.requires("llmlab") or []
    wanted = [text.partition(";")[0].strip() for text in requirements if extra in EXTRA.findall(text)]
    return shlex.join(["pip", "install", *wanted])


def require(*extras: str, installed: Callable[[str], object] = importlib.util.find_spec) -> None:
    """Check that the packages of these extras are installed, before anything starts.

    Raises:
        LabError: a package is not, with the command that installs it.
    """
    for extra in extras:
        missing = [name for name in MODULES[extra] if installed(name) is None]
        if missing:
            *most, last = missing
            names = f"{', '.join(most)} and {last}, which are" if most else f"{last}, which is"
            raise LabError(f"this needs {names} not installed here", install_command(extra))
