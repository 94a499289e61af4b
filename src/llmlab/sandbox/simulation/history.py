"""What happened in a schedule, as the world saw it: nothing here is read from what the lab wrote about itself."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime

from llmlab.sandbox.simulation.traces import HOUR, Trace

FREE_SECONDS = 3600.0
"""A spot instance that AWS takes back within this time is not charged.
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/billing-for-interrupted-spot-instances.html"""


@dataclass
class Life:
    """One instance from launch to end. Moments in seconds since 1970, None as long as they have not come."""

    instance: str
    attempt: int
    trace: Trace
    spot: bool
    launched: float
    deadline: float
    """What its tag said, or the lab's longest without one."""
    speed: float = 1.0
    """How fast its pool trains, the slowest being 1."""
    stopped: float | None = None
    """When it began to shut down, from when on nothing is charged."""
    terminated: float | None = None
    cause: str = ""
    taken: bool = False
    """AWS took it back."""
    said_at: float | None = None
    """When its agent had written the last word."""
    began_at: int | None = None
    """The step that its trainer went on from; None when none began."""
    whole: bool = True
    """Whether that checkpoint was what the trainer had saved."""
    step: int = 0
    """How far its trainer came."""
    safe: int = 0
    """The newest whole checkpoint in S3 when it stopped."""
    hung: bool = False

    def dollars(self, charges: float, until: float | None = None) -> float:
        """What it really cost, with `charges` US dollars an hour beside the instance, up to a moment or to its end."""
        end = self.stopped if until is None or (self.stopped is not None and self.stopped < until) else until
        assert end is not None
        free = self.spot and self.taken and self.stopped is not None and self.stopped - self.launched < FREE_SECONDS
        return charges * (end - self.launched) / HOUR if free else self.paid(charges, end)

    def paid(self, charges: float, until: float) -> float:
        """What it would have cost, had it lived until then, and nobody had taken it."""
        return charges * (until - self.launched) / HOUR + self.trace.dollars(self.launched, until, spot=self.spot)


@dataclass
class History:
    """`lines` is the trace of the schedule; `seen` counts what happened by its name."""

    lives: list[Life] = field(default_factory=list)
    lines: list[tuple[float, str, str]] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)
    together: list[tuple[str, str]] = field(default_factory=list)
    """Pairs of instances of the run that lived at the same moment."""
    saved: set[int] = field(default_factory=set)
    """The steps of all checkpoints that were ever whole in S3."""
    over_at: float | None = None

    def note(self, moment: float, who: str, words: str) -> None:
        self.lines.append((moment, who, words))

    def text(self, since: float) -> str:
        """The trace, one line an entry: hours after the launch, who, what."""
        return "".join(f"{(moment - since) / HOUR:9.4f} h  {who:<12} {words}\n" for moment, who, words in self.lines)


def clock_words(moment: float) -> str:
    """As EC2 writes a moment into a reason."""
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S} GMT"
