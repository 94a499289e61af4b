"""Stand-in for the disk commands lsblk, vgcreate, lvcreate, mkfs.ext4, mount and mountpoint: `python -I -S disks.py NAME ARGUMENTS…`.

Mounts and the contents of disks are recorded in `disks.json` of the machine's folder. A mount, also a bind mount, is only recorded there:
files written below it lie where they would without it.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3]))
from llmlab.sandbox.programs.machine import FOLDER, die

STATE = FOLDER / "disks.json"
"""The state: `mounts` by mount point, what each device `holds`, and after how many `mountpoint` calls the AMI's unit is `due`."""


def main() -> None:
    name, words = Path(sys.argv[1]).name, sys.argv[2:]
    verbs = {"lsblk": lsblk, "vgcreate": vgcreate, "lvcreate": lvcreate, "mkfs.ext4": mkfs, "mount": mount, "mountpoint": mountpoint}
    state = json.loads(STATE.read_text(encoding="utf-8")) if STATE.exists() else {}
    state = {"mounts": {}, "holds": {}, "due": 0, **state}
    try:
        verbs[name](words, state)
    finally:
        part = STATE.with_suffix(f".{os.getpid()}")
        part.write_text(json.dumps(state), encoding="utf-8")
        part.rename(STATE)


def plain(words: list[str], valued: str = "") -> list[str]:
    """The words that are no options; `valued` are the letters of options that take the next word as their value."""
    left, operands = list(words), []
    while left:
        word = left.pop(0)
        if not word.startswith("-"):
            operands.append(word)
        elif len(word) == 2 and word[1] in valued:
            left.pop(0)
    return operands


def lsblk(words: list[str], state: dict[str, Any]) -> None:
    """Print the columns NAME, FSTYPE and MOUNTPOINT, raw."""
    (device,) = plain(words, "o")[-1:]
    where = next((target for target, source in state["mounts"].items() if source == device), "")
    print(device, state["holds"].get(device, ""), where)  # noqa: T201 - a program of its own


def vgcreate(words: list[str], state: dict[str, Any]) -> None:
    group, *devices = plain(words)
    for device in devices:
        take(device, f"LVM2_member:{group}", state)


def lvcreate(words: list[str], state: dict[str, Any]) -> None:
    (group,) = plain(words, "inl")
    if f"LVM2_member:{group}" not in state["holds"].values():
        die(f'  Volume group "{group}" not found')
    state["holds"][f"/dev/{group}/{words[words.index('-n') + 1]}"] = ""


def mkfs(words: list[str], state: dict[str, Any]) -> None:
    (device,) = plain(words, "mE")
    take(device, "ext4", state)


def take(device: str, use: str, state: dict[str, Any]) -> None:
    """Mark a device as used, or fail when it is in use."""
    if device not in state["holds"] and not Path(device).exists():
        die(f"The file {device} does not exist")
    if state["holds"].get(device):
        die(f"{device} is apparently in use by the system")
    state["holds"][device] = use


def mount(words: list[str], state: dict[str, Any]) -> None:
    source, target = plain(words, "o")
    if not Path(target).is_dir():
        die(f"mount: {target}: mount point does not exist.")
    if "--bind" not in words and state["holds"].get(source) != "ext4":
        die(f"mount: {target}: wrong fs type, bad option, bad superblock on {source}")
    state["mounts"][target] = source


def mountpoint(words: list[str], state: dict[str, Any]) -> None:
    (place,) = plain(words)
    due = state["due"]
    if due:
        state["due"] = due - 1
    if place in state["mounts"] and not due:
        return
    if "-q" not in words:
        print(f"{place} is not a mountpoint")  # noqa: T201 - a program of its own
    sys.exit(32)


if __name__ == "__main__":
    main()
