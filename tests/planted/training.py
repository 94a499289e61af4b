"""Bugs in the trainer."""

from tests.planted.bug import Bug

BUGS = (
    Bug(
        "the same order in every epoch",
        "trainer/training/sampler.py",
        "default_rng((self.seed, epoch))",
        "default_rng((self.seed, 0))",
        "every epoch repeats the batches of the first, which trains worse",
        ("trainer/test_order.py",),
    ),
    Bug(
        "a reward may be no number",
        "rewards/scoring.py",
        "if math.isfinite(reward := float(value))",
        "if (reward := float(value)) is not None",
        "one NaN of a reward makes every advantage of its group NaN, and the weights after it",
        ("unit/rewards/test_scoring.py",),
    ),
    Bug(
        "a reward's process keeps its system calls",
        "rewards/confinement.py",
        "filtered = seccomp.restrict(libc)",
        "filtered = True",
        "a stranger's reward file reaches the network by datagrams and starts programs on the laptop",
        ("unit/rewards/test_scoring.py",),
    ),
    Bug(
        "a step goes on with the completions of the one before",
        "trainer/trl/grpo.py",
        "self._step = 0",
        "self._step = self._step or 0",
        "after a short step completions are made anew in the middle of one, of prompts that are none",
        ("trainer/test_grpo.py",),
    ),
)
