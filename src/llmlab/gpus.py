"""How fast the GPUs that AWS rents multiply: one table, for the estimate before a run and for the share of it that a run reaches (MFU).

Dense products of 16-bit numbers summed in 32 bits. NVIDIA's data sheets print the double of it, "with sparsity", from Ampere on.
"""

import re

TERAFLOPS = {
    "T4": 65.0,  # T4 data sheet, "mixed precision (FP16/FP32)"
    "A10": 125.0,  # A10 data sheet, "FP16 tensor core"
    "A10G": 70.0,  # A10G data sheet, "FP16 tensor core"; another GPU than the A10, and AWS's alone
    "L4": 121.0,  # L4 data sheet, 242 with sparsity
    "L40S": 362.0,  # L40S data sheet, 733 with sparsity
    "RTX PRO 4500": 200.0,  # Blackwell: an eighth of its FP4 with sparsity, 1,600; twice each for sparsity, FP8 and FP4
    "RTX PRO 6000": 500.0,  # Blackwell: an eighth of its FP4 with sparsity, 4,000, likewise
    "A100": 312.0,  # A100 data sheet, "FP16 tensor core"
    "H100": 989.0,  # H100 data sheet, SXM, 1,979 with sparsity
    "H200": 989.0,  # H200 data sheet, SXM, 1,979 with sparsity
    "B200": 2250.0,  # HGX B200: 36 petaflops of eight, with sparsity
    "B300": 2250.0,  # HGX B300: likewise
}


def teraflops(name: str) -> float:
    """The speed of the GPU that AWS or torch calls this, in 10¹² operations a second; 0 for one that is not in the table.

    AWS says `L40S` and `RTX PRO Server 6000`, torch `NVIDIA L40S` and `NVIDIA RTX PRO 6000 Blackwell Server Edition`.
    """
    plain = name.replace("Server ", "")
    return next((value for gpu, value in TERAFLOPS.items() if re.search(rf"\b{gpu}\b", plain)), 0.0)
