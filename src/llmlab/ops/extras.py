"""The command that installs what an extra of llmlab brings: by the names of the packages, because llmlab itself is on no index."""

import importlib.metadata
import re
import shlex

EXTRA = re.compile(r"""extra == ['"]([a-z]+)['"]""")


def install_command(extra: str) -> str:
    """The command with each requirement of the extra, as the metadata of the installed package has them."""
    requirements = importlib.metadata.requires("llmlab") or []
    wanted = [text.partition(";")[0].strip() for text in requirements if extra in EXTRA.findall(text)]
    return shlex.join(["pip", "install", *wanted])
