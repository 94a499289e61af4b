"""Stand-in for tmux: a detached session is a process whose output goes to a file of the machine; it cannot be attached to."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))
from llmlab.sandbox.programs.machine import FOLDER, detach, die


def main() -> None:
    words = sys.argv[1:]
    verb = words.pop(0) if words else ""
    if verb in {"has-session", "has", "kill-session", "kill-server", "ls", "set", "set-option"}:
        sys.exit(0 if verb.startswith(("kill", "set")) else 1)
    if verb not in {"new-session", "new"}:
        die(f"tmux: {verb}: no terminal to attach to")
    name = "0"
    while words and words[0].startswith("-"):
        option = words.pop(0)
        if option in {"-s", "-n", "-x", "-y", "-c", "-e"}:
            value = words.pop(0)
            name = value if option == "-s" else name
    detach(words if len(words) > 1 else ["bash", "-c", words[0] if words else "true"], FOLDER / f"tmux-{name}.log")


if __name__ == "__main__":
    main()
