"""Claim a name for a run: one live run has it, and the next may take it when that run is over.

The claim is a conditional write, so that of two launches at once one has the name and the other starts nothing. It is made after the
run's spec is written: a claim of a run without a spec is one that was taken back, and keeps nobody from the name.
"""

from datetime import datetime

from llmlab import contract
from llmlab.aws import documents, run_names
from llmlab.aws.session import Aws
from llmlab.clock import Clock
from llmlab.contract import NameClaim
from llmlab.errors import LabError, Refused, UsageError
from llmlab.ops.runs import UnknownRun, detail

TRIES = 3
"""How often a name is claimed while somebody else claims it at the same time."""


def check_name(name: str | None) -> None:
    """Check a name for a run, without asking AWS.

    Raises:
        UsageError: no run may be called so.
    """
    fault = "" if name is None else contract.name_fault(name)
    if fault:
        better = f"run-{name}"
        words = f"llmlab launch --name {'faq-v2' if not name or contract.name_fault(better) else better}"
        raise UsageError(f"no run can be called {contract.visible(name or '') or 'nothing'}: it {fault}", words)


def check_free(aws: Aws, name: str, now: datetime, run: str = "") -> None:
    """Check that no other live run has the name.

    Raises:
        Refused: another live run has it.
    """
    _, last = run_names.newest(aws, name)
    _check_over(aws, name, last, now, run)


def _check_over(aws: Aws, name: str, claim: NameClaim | None, now: datetime, run: str) -> None:
    """Check that the run of a name's last claim is this one, or is over.

    Raises:
        Refused: that run is live.
    """
    if claim is None or claim.run == run:
        return
    try:
        state = str(detail(aws, claim.run, now).run.state)
        if contract.RunState(state).final:
            return
    except UnknownRun:
        return
    except documents.Unreadable:
        state = "of a state that cannot be read"
    better = f"llmlab stop {claim.run}" if run else f"llmlab launch --name {_next(name)}"
    raise Refused(f"the name {name} is that of run {claim.run}, which is {state}", better)


def _next(name: str) -> str:
    """`faq-2` after `faq`, `faq-3` after `faq-2`."""
    stem, _, number = name.rpartition("-")
    better = f"{stem}-{int(number) + 1}" if stem and number.isascii() and number.isdigit() and len(number) < 4 else f"{name}-2"
    return "faq-v2" if contract.name_fault(better) else better


def claim(aws: Aws, name: str, run: str, clock: Clock) -> bool:
    """Claim the name for this run; False where the run has it already.

    Raises:
        Refused: another live run has it.
    """
    bucket = aws.names.outputs_bucket
    for _ in range(TRIES):
        number, last = run_names.newest(aws, name)  # looked at once: a claim made since then has the next number, and keeps us from it
        if last and last.run == run:
            return False
        _check_over(aws, name, last, clock.now(), run)
        document = NameClaim(name, run, contract.build_timestamp(clock.now()))
        if documents.write_once(aws, bucket, contract.name_claim(name, number + 1), document, clock):
            documents.touch(aws, bucket, contract.named(run, name))
            return True
    raise LabError(f"the name {name} was claimed by somebody else {TRIES} times while run {run} asked for it", "llmlab status")
