"""`python -m tests.faults.deliveries`: the watchdog's events as EventBridge may deliver them, to the real handler over a whole account.

Each event of each occasion is delivered twice, twice at the same moment, beside a sweep, beside and after the next one, when all is over,
or never; then every run must be as after each was delivered once, with one mail for each thing to tell, and never two instances.
"""

import argparse
import json
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from tests.faults.line import ready

if TYPE_CHECKING:
    from tests.faults.line import Line
    from tests.faults.occasions import Occasion
    from tests.faults.stage import Stage

SWEPT = -1
"""Among steps: the hourly sweep."""
HOURS_AFTER = 2
"""Sweeps at the end of each play."""
STARTED = re.compile(r"-start\.json$|: run (has started|goes on)$")
"""The news that an attempt has started, and the note of it."""
LONGEST_MESSAGE = 1500


@dataclass(frozen=True)
class Moment:
    """Steps that happen, one after another, and those whose events are then delivered, side by side."""

    happens: tuple[int, ...]
    heard: tuple[int, ...]


@dataclass(frozen=True)
class Play:
    """How the events of an occasion are delivered."""

    name: str
    moments: tuple[Moment, ...]
    overtaken: bool = False
    """Whether the next event may be heard first: then it is no news any more that an attempt has started."""

    @property
    def side_by_side(self) -> bool:
        return any(len(moment.heard) > 1 for moment in self.moments)


def plays(occasion: "Occasion") -> Iterator[Play]:
    """Every way in which one event can go wrong; the first is as it should be."""
    once = tuple(Moment((number,), (number,)) for number in range(len(occasion.steps)))
    yield Play("once", once)
    yield Play("all twice", tuple(one for moment in once for one in (moment, Moment((), moment.heard))))
    yield Play("all again when it is over", (*once, *(Moment((), moment.heard) for moment in once)))
    for number in range(len(occasion.steps)):
        upto, after = once[:number], once[number + 1 :]
        yield Play(f"{number} twice", (*upto, once[number], Moment((), (number,)), *after))
        yield Play(f"{number} twice at once", (*upto, Moment((number,), (number, number)), *after))
        yield Play(f"{number} beside a sweep", (*upto, Moment((number,), (number, SWEPT)), *after))
        yield Play(f"{number} lost", (*upto, Moment((number,), ()), Moment((SWEPT,), (SWEPT,)), *after))
        if after and not occasion.steps[number + 1].answers:
            both = (number, number + 1)
            yield Play(f"{number} after the next", (*upto, Moment(both, (number + 1,)), Moment((), (number,)), *after[1:]), True)
            yield Play(f"{number} beside the next", (*upto, Moment(both, both), *after[1:]), True)


def tell_apart(occasion: "Occasion", play: Play, stage: "Stage", seed: int) -> Counter[str]:
    """Play it; what there is then, identities and moments left out."""
    from tests.faults.occasions import HOUR_SECONDS, SWEEP

    chance = Random(f"{seed} {occasion.name} {play.name}")
    told: dict[int, dict[str, Any]] = {SWEPT: SWEEP}
    stage.keeper.heard = lambda call: _one_instance(stage) if call.operation in {"CreateFleet", "RunInstances"} else None
    for moment in play.moments:
        for number in moment.happens:
            if number == SWEPT:
                stage.clock.sleep(HOUR_SECONDS)
                continue
            step = occasion.steps[number]
            stage.clock.sleep(step.seconds)
            step.happens(stage)
            told[number] = step.event(stage)
        if moment.heard:
            for outcome in stage.keeper.run(*(stage.woken(told[number]) for number in moment.heard), chance=chance):
                assert outcome.result[0].code == 0, outcome.result[0].err
    for _ in range(HOURS_AFTER):
        stage.clock.sleep(HOUR_SECONDS)
        stage.do(stage.woken(SWEEP))
    stage.ring()
    assert not stage.instances(), "an instance is left"
    return after(stage)


def _one_instance(stage: "Stage") -> None:
    assert len(stage.instances()) <= 1, "two instances of one run live at once"


def after(stage: "Stage") -> Counter[str]:
    """The account, what is written about the run, and what people were told."""
    from llmlab import contract
    from llmlab.contract import Attempt, AttemptEnd, Marker, RunKeys
    from tests.faults.before import the_run

    bucket, keys = stage.eyes.names.outputs_bucket, RunKeys(the_run(stage))
    found = Counter(f"mail: {subject}" for subject in mails(stage))
    for key in stage.keys(bucket, keys.prefix):
        number, kind = contract.parse_attempt(key)
        if kind == "claim":
            attempt: Attempt = stage.read(Attempt, bucket, key)
            found[f"attempt {number}: instance {bool(attempt.instance)}, by {attempt.by}"] += 1
        elif kind == "end":
            found[f"attempt {number}: {stage.read(AttemptEnd, bucket, key).reason}"] += 1
        elif key in {keys.success, keys.failure}:
            found[f"marker: {stage.read(Marker, bucket, key).reason}"] += 1
    return stage.account() + found


def mails(stage: "Stage") -> list[str]:
    """Subjects of what the topic was told. That a run is being interrupted and that it was are the same news."""
    from moto.sns.models import sns_backends

    backend: Any = sns_backends[stage.eyes.account][stage.eyes.region]
    subjects = [sent[2] for topic in backend.topics.values() for sent in topic.sent_notifications]
    return [re.sub(r"run \S+", "run", str(subject)).replace("is being interrupted", "was interrupted") for subject in subjects]


# ---------------------------------------------------------------- all of them


def table(occasion: "Occasion", line: "Line", asked: argparse.Namespace) -> dict[str, Any]:
    """Counts of one occasion's plays, and `said`: each that went wrong, and how."""
    from tests.faults.keeper import apart
    from tests.faults.stage import build

    counted, said = Counter(dict.fromkeys(["events", "plays", "wrong"], 0)), []
    chance = Random(f"{asked.seed} {occasion.name}")
    with tempfile.TemporaryDirectory(prefix="llmlab-faults-") as folder:
        stage = build(line, Path(folder, "play"))
        occasion.prepare(stage)
        wanted: Counter[str] = Counter()
        for play in plays(occasion):
            if play.name != "once" and chance.random() >= asked.share:
                continue
            for seed in range(asked.seeds if play.side_by_side else 1):
                counted["plays"] += 1
                try:
                    got = apart(partial(tell_apart, occasion, play, stage, asked.seed + seed))
                except AssertionError as error:
                    wrong = str(error)[-LONGEST_MESSAGE:]
                else:
                    wanted = wanted or got
                    wrong = _difference(wanted, got, overtaken=play.overtaken) or (
                        "" if got[f"marker: {occasion.reason}"] else "it ended otherwise"
                    )
                if wrong:
                    counted["wrong"] += 1
                    said.append(f"{occasion.name}, {play.name}, seed {asked.seed + seed}: {wrong}")
                    sys.stderr.write(f"{said[-1]}\n")
    counted["events"] = len(occasion.steps)
    return {"occasion": occasion.name, **counted, "said": said}


def _difference(wanted: Counter[str], got: Counter[str], *, overtaken: bool) -> str:
    if overtaken:
        wanted, got = (Counter({key: count for key, count in one.items() if not STARTED.search(key)}) for one in (wanted, got))
    missing, more = sorted((wanted - got).elements()), sorted((got - wanted).elements())
    return f"missing {missing}, too much {more}" if missing or more else ""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.deliveries", description=__doc__)
    parser.add_argument("--only", default="", help="the occasion of this name")
    parser.add_argument("--share", type=float, default=1, help="of all plays, picked by the seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=1, help="orders of what is delivered side by side")
    asked = parser.parse_args()
    line, failed = ready(), False
    from tests.faults.keeper import apart
    from tests.faults.occasions import OCCASIONS

    for occasion in OCCASIONS:
        if asked.only in {"", occasion.name}:
            row = apart(partial(table, occasion, line, asked))
            sys.stdout.write(json.dumps(row) + "\n")
            sys.stdout.flush()
            failed |= bool(row["wrong"])
    sys.exit(failed)


if __name__ == "__main__":
    main()
