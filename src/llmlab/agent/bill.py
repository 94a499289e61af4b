"""What this run has cost by now, and when its money is spent: `llmlab.money` over what the agent knows."""

from dataclasses import dataclass
from datetime import datetime

from llmlab import money
from llmlab.contract import Attempt, Charge, PricePoint, parse_timestamp


@dataclass(frozen=True)
class Bill:
    """`price` held at the start, `history` what followed, `highest` is what it may become; US dollars an hour."""

    attempt: Attempt
    charges: tuple[Charge, ...]
    price: float
    highest: float
    history: tuple[PricePoint, ...] = ()

    @property
    def launched(self) -> datetime:
        return parse_timestamp(self.attempt.launched or self.attempt.claimed)

    def hours(self, now: datetime) -> float:
        """Of this attempt alone."""
        return money.attempt_hours(self.launched, now)

    def parts(self, now: datetime, *, interrupted: bool = False) -> dict[str, float]:
        """US dollars of this attempt alone, by what they are for. `interrupted`: AWS has taken this spot instance back."""
        return money.attempt_costs(self.charges, self.launched, now, self.price, self.history, interrupted=interrupted)

    def total(self, now: datetime) -> float:
        """US dollars over all attempts."""
        return self.attempt.cost_before + money.total(self.parts(now))

    def hourly(self, now: datetime) -> float:
        """US dollars an hour at the price of now, with everything that the instance needs."""
        return money.hourly(self.charges, money.price_now(self.history, now, self.price))

    def spent_at(self, now: datetime, *, blind_seconds: float = 0.0) -> float | None:
        """When the cost limit will have been reached, in seconds since 1970; None without one.

        At the price of now, but for the last `blind_seconds`, which are counted at the highest.
        """
        hourly = self.hourly(now)
        reserve = max(0.0, self.most_hourly - hourly) * blind_seconds / money.HOUR
        return money.spent_at(self.attempt.max_cost, self.total(now) + reserve, now, hourly)

    def is_near(self, now: datetime, seconds: float) -> bool:
        """Whether the cost limit could be reached within so many seconds, if the price became the highest."""
        at = money.spent_at(self.attempt.max_cost, self.total(now), now, max(self.most_hourly, self.hourly(now)))
        return at is not None and at - now.timestamp() < seconds

    @property
    def most_hourly(self) -> float:
        return money.hourly(self.charges, self.highest)
