"""The layers of the training image for GPUs, from the lock's wheels: `python -m benchmarks.layers`.

Nothing is downloaded but the tables of contents of the wheels, by HTTP's ranges: they name every file with its size and its size under
deflate, which is gzip's. Each piece is what `docker/layers.py` would make of these files; bytecode, which the image has too, is not in
wheels.
"""

import argparse
import importlib.util
import io
import json
import re
import sys
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
INDEX = "https://pypi.org/simple"
SIMPLE = "application/vnd.pypi.simple.v1+json"
WANTED = re.compile(r"(cp312-cp312|abi3|py3-none|py2\.py3-none)-(any|\S*linux\S*x86_64)\.whl$")
PACKAGES = "/lib/python3.12/site-packages"
PIECES = 5
END_BYTES = 1 << 20


class Ranged(io.RawIOBase):
    """A file of the web that is read where one looks."""

    def __init__(self, address: str, size: int) -> None:
        self.address, self.size, self.at = address, size, 0
        self.kept: tuple[int, bytes] = (0, b"")

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.at

    def seek(self, offset: int, whence: int = 0) -> int:
        self.at = offset + {0: 0, 1: self.at, 2: self.size}[whence]
        return self.at

    def readinto(self, buffer: Any) -> int:
        length = min(len(buffer), self.size - self.at)
        start, kept = self.kept
        if not start <= self.at <= self.at + length <= start + len(kept):
            start = max(0, min(self.at, self.size - END_BYTES))
            kept = fetched(self.address, {"Range": f"bytes={start}-{max(start + END_BYTES, self.at + length) - 1}"})
            self.kept = (start, kept)
        found = kept[self.at - start : self.at - start + length]
        buffer[: len(found)] = found
        self.at += len(found)
        return len(found)


def fetched(address: str, headers: dict[str, str]) -> bytes:
    with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=60) as answer:
        body: bytes = answer.read()
    return body


def locked(name: str) -> dict[str, tuple[str, set[str]]]:
    """Version and hashes of each package of a lock."""
    text = (ROOT / "locks" / f"{name}.lock").read_text(encoding="utf-8")
    found = {}
    for entry in re.split(r"\n(?=\S)", text):
        match = re.match(r"([a-z0-9-]+)==(\S+)", entry)
        if match:
            found[match[1]] = (match[2], set(re.findall(r"sha256:([0-9a-f]{64})", entry)))
    return found


def contents(name: str, hashes: set[str]) -> tuple[int, list[tuple[str, int, int]]]:
    """Bytes of the wheel that the image takes, and its files: path, size, size under deflate."""
    listed = json.loads(fetched(f"{INDEX}/{name}/", {"Accept": SIMPLE}))["files"]
    fitting = [one for one in listed if one["hashes"].get("sha256") in hashes and WANTED.search(one["filename"])]
    if not fitting:
        sys.exit(f"the index has no wheel of {name} for x86-64")
    one = min(fitting, key=lambda one: "cp312-cp312" not in one["filename"])
    with zipfile.ZipFile(io.BufferedReader(Ranged(one["url"], one["size"]))) as wheel:
        return one["size"], [(f"{PACKAGES}/{info.filename}", info.file_size, info.compress_size) for info in wheel.infolist()]


def layers() -> Any:
    specification = importlib.util.spec_from_file_location("layers", ROOT / "docker/layers.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--files", type=int, default=0, help="as many of the largest files, too")
    shown = parser.parse_args().files
    divide, sizes, packed, wheels = layers(), {}, {}, 0
    for lock in ("torch", "cuda"):
        for name, (_, hashes) in locked(lock).items():
            size, found = contents(name, hashes)
            wheels += size
            for path, plain, deflated in found:
                sizes[path], packed[path] = plain, deflated
            sys.stderr.write(f"{name}: {size / 1e6:.0f} MB\n")
    kept = {path: size for path, size in sizes.items() if divide.needed(path)}
    for path in sorted(sizes, key=lambda path: -packed[path])[:shown]:
        print(f"{packed[path] / 1e6:8.1f} {sizes[path] / 1e6:8.1f} {'' if path in kept else 'left out'} {path}")
    print("| layer | files | MB, unpacked | MB, gzip |\n|---|---:|---:|---:|")
    for number, paths in enumerate(divide.divided(kept.items(), PIECES), 1):
        print(f"| {number} | {len(paths)} | {sum(map(kept.get, paths)) / 1e6:,.0f} | {sum(map(packed.get, paths)) / 1e6:,.0f} |")
    for words, chosen in (("all five", set(kept)), ("left out", set(sizes) - set(kept))):
        plain, deflated = (sum(table[path] for path in chosen) / 1e6 for table in (sizes, packed))
        print(f"| {words} | {len(chosen)} | {plain:,.0f} | {deflated:,.0f} |")
    print(f"\nThe wheels together: {wheels / 1e6:,.0f} MB.")


if __name__ == "__main__":
    main()
