"""The true history of a schedule, recorded by the simulator: nothing in it is read from the lab's own documents."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tests.simulation.traces import HOUR, Trace

FREE_SECONDS = 3600.0
"""A spot instance that AWS interrupts within this time is not charged.
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/billing-for-interrupted-spot-instances.html"""


@dataclass
class Life:
    """The life of one instance, from launch to end. Moments in seconds since 1970, None until they come."""

    instance: str
    attempt: int
    trace: Trace
    spot: bool
    launched: float
    deadline: float
    """The deadline in the instance's tag, or by the lab's maximum lifetime without one."""
    speed: float = 1.0
    """Training speed of its pool, relative to the slowest one."""
    stopped: float | None = None
    """When the instance began to shut down, after which nothing is charged."""
    terminated: float | None = None
    cause: str = ""
    taken: bool = False
    """AWS interrupted the instance."""
    said_at: float | None = None
    """When its agent had written the attempt's end."""
    began_at: int | None = None
    """The step that its trainer started from; None when no trainer started."""
    whole: bool = True
    """Whether the checkpoint that the trainer started from was complete."""
    step: int = 0
    """The last step that its trainer reached."""
    safe: int = 0
    """The step of the newest complete checkpoint in S3 when the instance stopped."""
    hung: bool = False

    def dollars(self, charges: float, until: float | None = None) -> float:
        """The true cost in US dollars, with `charges` an hour in addition to the instance's price, up to a moment or to its end."""
        end = self.stopped if until is None or (self.stopped is not None and self.stopped < until) else until
        assert end is not None
        free = self.spot and self.taken and self.stopped is not None and self.stopped - self.launched < FREE_SECONDS
        return charges * (end - self.launched) / HOUR if free else self.paid(charges, end)

    def paid(self, charges: float, until: float) -> float:
        """The cost in US dollars until a moment, as if the instance had lived until then without interruption."""
        return charges * (until - self.launched) / HOUR + self.trace.dollars(self.launched, until, spot=self.spot)


@dataclass
class History:
    """The events of a schedule. `lines` is its trace; `seen` counts events by name."""

    lives: list[Life] = field(default_factory=list)
    lines: list[tuple[float, str, str]] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)
    together: list[tuple[str, str]] = field(default_factory=list)
    """Pairs of instances of the run that lived at the same moment."""
    saved: set[int] = field(default_factory=set)
    """The steps of all checkpoints that were ever complete in S3."""
    over_at: float | None = None

    def note(self, moment: float, who: str, words: str) -> None:
        self.lines.append((moment, who, words))

    def text(self, since: float) -> str:
        """The trace, one line an entry: hours after the launch, program, event."""
        return "".join(f"{(moment - since) / HOUR:9.4f} h  {who:<12} {words}\n" for moment, who, words in self.lines)


def clock_words(moment: float) -> str:
    """A moment as EC2 writes it into a StateTransitionReason."""
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S} GMT"
