"""Divide what pip installed into pieces of about the same size, each of which becomes a layer: `python3 layers.py TREE FOLDER PIECES`.

An engine fetches three layers at a time (https://docs.docker.com/reference/cli/dockerd/, `max-concurrent-downloads`) and unpacks those that
are there while others still come; one layer alone has one connection and one processor. The pieces lie in FOLDER/1, FOLDER/2, … as hard
links, so nothing is written twice. Left out is what no training needs. Standard library alone: it runs in the build.
"""

import os
import sys
from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path

NOT_NEEDED = (
    "*.a",  # libraries to link with
    "*/nvidia/*/include/*",  # CUDA's headers: nothing of CUDA is compiled here, and Triton brings the one it needs
    "*/libcusolverMg.so*",  # over several GPUs in one process, which torch does not use
    "*/libnvrtc*.alt.so*",  # a second build of the compiler, for who asks for it
    "*/libcufftw.so*", "*/libnvblas.so*",  # other names for what is there
    "*/torch/bin/protoc*",
    "*/triton/backends/nvidia/bin/cuobjdump", "*/triton/backends/nvidia/bin/nvdisasm",  # show machine code to people
    "*/triton/backends/nvidia/lib/cupti/*", "*/triton/instrumentation/*.so", "*/triton/FileCheck",  # for Triton's profiler and its tests
)  # fmt: skip
"""Patterns of paths. torch names what it loads in `torch/__init__.py` (`_preload_cuda_deps`)."""


def needed(path: str) -> bool:
    return not any(fnmatch(path, pattern) for pattern in NOT_NEEDED)


def divided(sizes: Iterable[tuple[str, int]], pieces: int) -> list[list[str]]:
    """Paths in so many pieces, the largest file first into the piece that is smallest so far; the smallest piece comes first."""
    sums, paths = [0] * pieces, [[] for _ in range(pieces)]  # type: tuple[list[int], list[list[str]]]
    for path, size in sorted(sizes, key=lambda one: (-one[1], one[0])):
        smallest = sums.index(min(sums))
        sums[smallest] += size
        paths[smallest].append(path)
    return [paths[piece] for piece in sorted(range(pieces), key=lambda piece: (sums[piece], piece))]


def files(tree: Path) -> Iterator[tuple[str, int]]:
    """Every file that is needed, and every link, with its size."""
    for folder, _, names in os.walk(tree):
        for name in names:
            path = Path(folder, name)
            if needed(f"/{path.relative_to(tree)}"):
                yield str(path.relative_to(tree)), path.lstat().st_size


def main() -> None:
    tree, target, pieces = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    sizes = dict(files(tree))
    for number, paths in enumerate(divided(sizes.items(), pieces), 1):
        for path in paths:
            place = target / str(number) / path
            place.parent.mkdir(parents=True, exist_ok=True)
            os.link(tree / path, place, follow_symlinks=False)
        sys.stdout.write(f"layer {number}: {len(paths)} files, {sum(sizes[path] for path in paths) / 1e6:.0f} MB\n")
    for folder, names, _ in os.walk(tree):  # links to folders are no files, and would be lost
        for name in names:
            path = Path(folder, name)
            if path.is_symlink():
                place = target / "1" / path.relative_to(tree)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.symlink_to(path.readlink())


if __name__ == "__main__":
    main()
