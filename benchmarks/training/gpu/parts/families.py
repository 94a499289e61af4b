"""Do models that differ where training looks inside them learn on this device, and are they packed.

Norms on queries and keys, heads of 256 with a window, experts by grouped products: each of a few tokens' width, with random weights.
"""

from benchmarks.training.gpu import trainings
from benchmarks.training.gpu.running import Job, Tell

FAMILIES = ("qwen3", "gemma3_text", "qwen3_moe")
STEPS = 2
ON_A_GPU = {"hidden_size": 256, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64, "intermediate_size": 704}
WIDE_HEADS = {"gemma3_text": {"head_dim": 256, "query_pre_attn_scalar": 256}}


def run(job: Job, tell: Tell) -> None:
    from tests.trainer import architectures

    for family in FAMILIES[:1] if job.on_cpu else FAMILIES:
        place = job.folder / family
        wider = {} if job.on_cpu else ON_A_GPU | WIDE_HEADS.get(family, {})
        architectures.make(place / "model", family, **wider)
        (place / "chat").symlink_to(trainings.small(job) / "chat")
        trained = trainings.train(job, f"{family}-run", place, {"max_steps": STEPS})
        says = f"{trained.says}; {trained.line('packing: ')}; {trained.line('fused: ')}"
        tell.check(f"{family} trains", trained.code == 0, says)
