"""Bugs in the trainer."""

from tests.planted.bug import Bug

BUGS = (
    Bug(
        "the same order in every epoch",
        "trainer/loop/batches.py",
        "default_rng((self.seed, epoch))",
        "default_rng((self.seed, 0))",
        "every epoch repeats the batches of the first, which trains worse",
        ("trainer/test_order.py",),
    ),
)
