"""Messages for Ctrl-C: what an interrupted command leaves behind, and the command that continues from there."""

import shlex
from collections.abc import Sequence

from llmlab.errors import Interrupted

LEFT = {
    "bootstrap": ("what was made so far stays and costs nothing while no instance runs", None),
    "teardown": ("what was not yet removed is still there", None),
    "upload": ("files that were sent stay, the manifest was not written, so no run sees a partial dataset", None),
    "fetch": ("what is downloaded stays and is not downloaded again", None),
    "launch": ("an instance may have been started; it ends at its deadline at the latest", "llmlab status"),
    "resume": ("an instance may have been started; it ends at its deadline at the latest", "llmlab status"),
    "stop": ("the request may have been sent; the run goes on until the status says otherwise", "llmlab status"),
    "rm": ("what was not yet removed is still there", None),
    "logs": ("the run goes on", "llmlab status"),
    "status": ("nothing was changed", None),
    "validate": ("nothing was changed", None),
    "image": ("what is built or pushed is used again", None),
    "init": ("files that were written stay", None),
    "connect": ("the session is closed, the run goes on", "llmlab status"),
}
"""Command → what it leaves behind, and the command that continues from there (None: the same line again)."""


WATCHING = {"status": {"--watch", "-w"}, "logs": {"--follow", "-f"}}
"""Commands that run until Ctrl-C, which is their normal end and no error."""


def is_watching(arguments: Sequence[str]) -> bool:
    """Whether a command line only watches until Ctrl-C."""
    command = next((word for word in arguments if not word.startswith("-")), "")
    return bool(WATCHING.get(command, set()) & set(arguments))


def interrupted(line: Sequence[str], arguments: Sequence[str]) -> Interrupted:
    """The error for a Ctrl-C: `line` as it was typed, `arguments` without the global options."""
    command = next((word for word in arguments if not word.startswith("-")), "")
    left, hint = LEFT.get(command, ("nothing more was changed", None))
    return Interrupted(f"interrupted; {left}", hint or shlex.join(["llmlab", *line]))
