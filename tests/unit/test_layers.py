"""How what pip installed is divided into layers of the image: every file once, pieces alike, nothing that torch loads left out."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, strategies

from benchmarks.layers import PIECES, ROOT, layers

LAYERS = layers()
PACKAGES = "/lib/python3.12/site-packages"


@given(strategies.dictionaries(strategies.text("abc/", min_size=1), strategies.integers(0, 10**9)), strategies.integers(1, 7))
def test_every_file_is_in_one_piece_and_no_piece_is_larger_by_more_than_one_file(sizes: dict[str, int], pieces: int) -> None:
    divided = LAYERS.divided(sizes.items(), pieces)
    assert sorted(path for piece in divided for path in piece) == sorted(sizes)
    sums = [sum(sizes[path] for path in piece) for piece in divided]
    assert len(sums) == pieces
    assert max(sums) - min(sums) <= max(sizes.values(), default=0)
    assert sums == sorted(sums), "what is there first is unpacked first"


@pytest.mark.parametrize(
    "path",
    [
        "nvidia/cu13/lib/libcublasLt.so.13", "nvidia/cu13/lib/libcusolver.so.12", "nvidia/cu13/lib/libnvrtc.so.13",
        "nvidia/cu13/lib/libnvrtc-builtins.so.13.0", "nvidia/cu13/lib/libcufft.so.12", "nvidia/cu13/lib/libcupti.so.13",
        "nvidia/cudnn/lib/libcudnn_engines_precompiled.so.9", "nvidia/nccl/lib/libnccl.so.2", "torch/lib/libtorch_cuda.so",
        "torch/bin/torch_shm_manager", "torch/include/torch/csrc/inductor/cpp_prefix.h", "triton/backends/nvidia/bin/ptxas",
        "triton/backends/nvidia/include/cuda.h", "triton/_C/libtriton.so",
    ],
)  # fmt: skip
def test_what_a_training_loads_stays(path: str) -> None:
    """The libraries by the names that torch's `_preload_cuda_deps` has, the headers that Triton and Inductor compile with."""
    assert LAYERS.needed(f"{PACKAGES}/{path}")


@pytest.mark.parametrize(
    "path",
    [
        "nvidia/cu13/include/cublas.h", "nvidia/cu13/lib/libcusolverMg.so.12", "nvidia/cu13/lib/libnvrtc.alt.so.13",
        "nvidia/cu13/lib/libcudadevrt.a", "triton/backends/nvidia/lib/cupti/libcupti.so.12",
    ],
)  # fmt: skip
def test_what_no_training_loads_is_left_out(path: str) -> None:
    assert not LAYERS.needed(f"{PACKAGES}/{path}")


def test_the_pieces_put_together_are_the_tree(tmp_path: Path) -> None:
    """Links and modes among them, and no second copy."""
    tree, target = tmp_path / "tree", tmp_path / "layers"
    (tree / "lib/deep").mkdir(parents=True)
    for number in range(7):
        (tree / f"lib/deep/{number}.so").write_bytes(b"x" * number * 1000)
    (tree / "lib/left.a").touch()
    (tree / "run").write_text("#!/bin/sh\n", encoding="utf-8")
    (tree / "run").chmod(0o755)
    (tree / "python").symlink_to("run")
    (tree / "lib64").symlink_to("lib")
    subprocess.run([sys.executable, str(ROOT / "docker/layers.py"), str(tree), str(target), "3"], check=True, capture_output=True)
    whole = tmp_path / "whole"
    whole.mkdir()
    for piece in ("1", "2", "3"):
        subprocess.run(["cp", "-a", f"{target / piece}/.", str(whole)], check=True)
    names = {str(path.relative_to(whole)) for path in whole.rglob("*")}
    assert names == {str(path.relative_to(tree)) for path in tree.rglob("*")} - {"lib/left.a"}
    assert os.access(whole / "run", os.X_OK)
    assert ((whole / "python").readlink(), (whole / "lib64").readlink()) == (Path("run"), Path("lib"))
    (copy,) = target.glob("*/lib/deep/6.so")
    assert copy.samefile(tree / "lib/deep/6.so")


def test_the_dockerfile_takes_every_piece_once() -> None:
    text = (ROOT / "docker/Dockerfile").read_text(encoding="utf-8")
    assert f"layers.py /opt/torch /layers {PIECES}\n" in text
    for piece in range(1, PIECES + 1):
        assert text.count(f"COPY --from=torch /layers/{piece} /opt/torch\n") == 1
    assert text.count("COPY --from=torch ") == PIECES
