"""The command that installs what an extra of llmlab brings: by the names of the packages, because llmlab itself is on no index."""

import importlib.metadata
import importlib.util
import re
import shlex
from collections.abc import Callable

from llmlab.errors import LabError

MODULES = {"sandbox": ("moto",), "trainer": ("torch", "transformers", "peft")}
"""What an extra brings that its commands cannot do without, by the names they are imported by."""
EXTRA = re.compile(r"""extra == ['"]([a-z]+)['"]""")


def install_command(extra: str) -> str:
    """The command with each requirement of the extra, as the metadata of the installed package has them."""
    requirements = importlib.metadata.requires("llmlab") or []
    wanted = [text.partition(";")[0].strip() for text in requirements if extra in EXTRA.findall(text)]
    return shlex.join(["pip", "install", *wanted])


def require(*extras: str, installed: Callable[[str], object] = importlib.util.find_spec) -> None:
    """That these extras are installed, said before anything starts.

    Raises:
        LabError: one is not, with the command that installs it.
    """
    for extra in extras:
        missing = [name for name in MODULES[extra] if installed(name) is None]
        if missing:
            *most, last = missing
            names = f"{', '.join(most)} and {last}, which are" if most else f"{last}, which is"
            raise LabError(f"this needs {names} not installed here", install_command(extra))
