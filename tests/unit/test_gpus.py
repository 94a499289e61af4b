"""One table of GPUs' speed, found by AWS's names and by torch's."""

import pytest

from llmlab import gpus

NAMES = {
    "T4": ("T4", "Tesla T4"),
    "A10G": ("A10G", "NVIDIA A10G"),
    "A10": ("A10", "NVIDIA A10"),
    "L4": ("L4", "NVIDIA L4"),
    "L40S": ("L40S", "NVIDIA L40S"),
    "RTX PRO 4500": ("RTX PRO 4500", "RTX PRO Server 4500", "NVIDIA RTX PRO 4500 Blackwell Server Edition"),
    "RTX PRO 6000": ("RTX PRO Server 6000", "NVIDIA RTX PRO 6000 Blackwell Server Edition"),
    "A100": ("A100", "NVIDIA A100-SXM4-40GB", "NVIDIA A100-SXM4-80GB"),
    "H100": ("H100", "NVIDIA H100 80GB HBM3"),
    "H200": ("H200", "NVIDIA H200"),
    "B200": ("B200", "NVIDIA B200"),
    "B300": ("B300", "NVIDIA B300 SXM6 AC"),
}


def test_every_gpu_of_the_table_is_found_by_both_names() -> None:
    assert set(NAMES) == set(gpus.TERAFLOPS)
    for gpu, names in NAMES.items():
        assert {name: gpus.teraflops(name) for name in names} == dict.fromkeys(names, gpus.TERAFLOPS[gpu])


@pytest.mark.parametrize("name", ["", "T4g", "V100", "M60", "NVIDIA L40", "NVIDIA RTX PRO 6000D", "Radeon Pro V520"])
def test_another_gpu_is_not_known(name: str) -> None:
    assert gpus.teraflops(name) == 0.0
