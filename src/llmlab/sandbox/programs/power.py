"""Stand-in for systemctl, systemd-run, poweroff, shutdown, halt and snap: `python -I -S power.py NAME ARGUMENTS…`.

Timers live in the sandbox, on its clock.
"""

import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))
from llmlab.sandbox.programs.machine import FOLDER, call, detach, die

UNITS = {"ms": 0.001, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "hr": 3600, "d": 86400}


def main() -> None:
    name, arguments = Path(sys.argv[1]).name, sys.argv[2:]
    {"systemctl": systemctl, "systemd-run": systemd_run, "shutdown": shutdown, "snap": snap}.get(name, power)(arguments, name)


def power(arguments: list[str], name: str) -> None:
    """Power off, except by a plain `halt`: it only stops the processor, and EC2 goes on billing."""
    if name in {"poweroff", "reboot"} or "-p" in arguments or "--poweroff" in arguments:
        call("POST", "poweroff")


def systemctl(arguments: list[str], _: str) -> None:
    words = [word for word in arguments if not word.startswith("-")]
    verb, units = (words[0], words[1:]) if words else ("", [])
    if verb in {"poweroff", "reboot", "halt"}:
        power([], verb)
    elif verb == "is-system-running":
        state = call("GET", "state")[1]["running"]
        print(state)  # noqa: T201
        sys.exit(0 if state == "running" else 1)
    elif verb == "cat":
        if not all((FOLDER / "root/etc" / unit).exists() for unit in units):
            die(f"No files found for {', '.join(units)}.")
    elif verb in {"stop", "disable", "kill", "mask"}:
        if verb == "mask":
            note("masked", units)
        for unit in units:
            call("DELETE", f"timers/{unit.removesuffix('.timer').removesuffix('.service')}")
    elif verb == "is-active":
        active = call("GET", f"timers/{units[0].removesuffix('.timer')}")[0] == 200 if units else False
        print("active" if active else "inactive")  # noqa: T201
        sys.exit(0 if active else 3)


def snap(arguments: list[str], _: str) -> None:
    note("snap", arguments)


def note(name: str, words: list[str]) -> None:
    """Record a command that has no effect in the sandbox, in a file of the machine's folder."""
    with (FOLDER / name).open("a", encoding="utf-8") as stream:
        stream.write(" ".join(words) + "\n")


def systemd_run(arguments: list[str], _: str) -> None:
    unit, seconds, command = "run", 0.0, list(arguments)
    while command and command[0].startswith("-"):
        option, _equals, value = command.pop(0).partition("=")
        if option in {"--unit", "-u"}:
            unit = value or command.pop(0)
        elif option == "--on-active":
            seconds = duration(value or command.pop(0))
        elif option in {"--timer-property", "-p", "--property"} and not value:
            command.pop(0)
    if not command:
        die("systemd-run: no command line given")
    if not any(word.startswith("--on-") for word in arguments):
        detach(command, FOLDER / "console.log")
        return
    unit = unit.removesuffix(".timer")
    status, _ = call("POST", "timers", {"unit": unit, "seconds": seconds, "command": command})
    if status != 200:
        die(f"Failed to start transient timer unit: Unit {unit}.timer was already loaded or has a fragment file.")
    print(f"Running timer as unit: {unit}.timer", file=sys.stderr)  # noqa: T201


def duration(text: str) -> float:
    """Parse systemd's time span, such as `90s` or `1h 30min`, to seconds."""
    total, number, letters = 0.0, "", ""
    for character in text + " ":
        if character.isdigit() or character == ".":
            if letters:
                total, number, letters = total + float(number) * UNITS[letters], "", ""
            number += character
        elif character.isalpha():
            letters += character
        elif number:
            total, number, letters = total + float(number) * UNITS[letters or "s"], "", ""
    return total


def shutdown(arguments: list[str], _: str) -> None:
    when = next((word for word in arguments if not word.startswith("-")), "+1")
    if "-c" in arguments:
        call("DELETE", "timers/shutdown")
    elif "-k" in arguments:
        return
    elif when == "now" or when.lstrip("+") == "0":
        power([], "poweroff")
    else:
        call("DELETE", "timers/shutdown")
        call("POST", "timers", {"unit": "shutdown", "seconds": 60 * float(when.lstrip("+")), "command": ["poweroff"]})


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        die(f"{sys.argv[1]}: {error}")
    except subprocess.SubprocessError as error:
        die(str(error))
