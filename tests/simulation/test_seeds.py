"""Schedules that have found something once, each with what it was; none of it may come back."""

import pytest

from tests.sampling import sampled
from tests.simulation import many

FOUND = {
    31: "the deadline of an attempt whose successor's starter died stayed in Scheduler after the run was over",
    73: "an agent that left in minute 58 called the hour free, and AWS took the machine in minute 60 and charged it",
    817: "a sweep and both its retries died, and the run was gone on with two hours later, at a price that says so",
    990: "a throttled download passed for a damaged checkpoint, and an older one was taken",
    1080: "a look at EC2 that was older than an instance started a second one, as long as functions had no time limit",
    1131: "the same as 990, with nothing older: the training started over",
    1320: "a machine that its own timer ended before AWS could take it back was called free",
    1402: "a function that died between a run's last word and telling it left nobody who would tell",
    2156: "a run that was stopped before it had an instance was told to nobody, and its alarm clock stayed for hours",
    2146: "a machine kept with --no-auto-shutdown stood in the way of the next attempt for nine hours, which nobody counted",
    4200: "a resume took dollars that did not pay for the start, and the run ended over its ceiling",
    4022: "a machine kept with --no-auto-shutdown lived on when its money was used up",
    7141: "an event that came late found the claim of a call that had told since, and people were told of one end three times",
}


@pytest.mark.parametrize("seed", sampled(FOUND, 31, 4200, 7141))
def test_what_a_seed_has_found_is_mended(seed: int) -> None:
    found = many.play(seed)
    assert found.violations == [], FOUND[seed]
    assert found.invocations > 0
