"""The cost command: this month's cost by run and by service."""

from typing import TYPE_CHECKING, Annotated

import typer

from llmlab.commands.context import CliContext
from llmlab.commands.formatting import CENT, dollars
from llmlab.commands.run_screens import WIDE
from llmlab.lifecycle import billing
from llmlab.ui import table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

    from llmlab.ops.billing_reconciliation import Compared, Comparison
    from llmlab.ops.cost import Costs, Kept, RunCost


def register(app: typer.Typer) -> None:
    """Add this module's commands, in the order the help shows them."""
    app.command()(cost)


def cost(
    ctx: typer.Context,
    cost_explorer: Annotated[bool, typer.Option(help="Ask Cost Explorer too: four questions of one cent each.")] = True,
) -> None:
    """This month by run and by service, the budget and the forecast."""
    from llmlab.ops.cost import cost as ask

    cli: CliContext = ctx.obj
    facts = ask(cli.aws, cli.clock, cost_explorer=cost_explorer)
    cli.ui.show(facts, lambda: view(facts))
    for note in facts.notes:
        cli.ui.say(f"note: {note}")


def view(facts: "Costs") -> "Iterator[RenderableType]":
    """The screen of the month's costs."""
    yield f"runs in {facts.month}, at the prices of their pools"
    yield CostTable(facts)
    if facts.services is not None:
        yield ""
        services = [(name, dollars(amount)) for name, amount in facts.services.items()] or [("nothing yet", dollars(0))]
        yield "Cost Explorer, about a day behind"
        yield table(("service", "dollars"), services, right=("dollars",))
    if facts.comparison and facts.comparison.whole.billed:
        yield ""
        yield from _comparison(facts.comparison)
    if facts.budget:
        expected = "" if facts.budget.forecast is None else f", {dollars(facts.budget.forecast)} expected"
        yield f"\nbudget: {dollars(facts.budget.limit)} a month, {dollars(facts.budget.spent)} spent{expected}"
    if facts.forecast is not None:
        yield f"forecast for the rest of the month: {dollars(facts.forecast)}"
    if facts.kept:
        yield f"kept: {kept_words(facts.kept)}"
    if facts.while_idle:
        from llmlab.aws import idle_cost

        yield f"the lab itself: {idle_cost.words(facts.while_idle)}"


def kept_words(facts: "Kept") -> str:
    """The monthly cost of storage by kind, and the cost of this month's log lines."""
    held = ", ".join(f"{name} {dollars(amount)}" for name, amount in facts.storage.items() if amount >= CENT)
    storage = f"storage about {dollars(sum(facts.storage.values()))} a month{f' ({held})' if held else ''}"
    return f"{storage}; log lines of this month {facts.log_gb:.2f} GB, about {dollars(facts.logs)}"


class CostTable:
    """The table of costs: a line for each attempt, and a total for a run with several; zones and parts only on a wide terminal."""

    def __init__(self, facts: "Costs") -> None:
        self.facts = facts

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        wide = options.max_width >= WIDE
        runs = self.facts.runs
        summed = billing.total_parts(run.parts for run in runs)
        parts = (list(summed) or [billing.INSTANCE]) if wide else []
        rows = [row for run in runs for row in self._rows(run, parts, wide=wide)]
        total = (f"{sum(run.hours for run in runs):.2f}", *self._cells(summed, parts), dollars(self.facts.total))
        rows.append(("total", "", "", *total, ""))
        numbers = ("hours", *parts, "total")
        yield table(("run", "attempt", "where", *numbers, ""), rows, right=("attempt", *numbers), whole=("run", *numbers))

    def _rows(self, run: "RunCost", parts: "Sequence[str]", *, wide: bool) -> "Iterator[tuple[object, ...]]":
        for attempt in run.by_attempt:
            where = (attempt.instance_type, attempt.zone if wide else "", "spot" if attempt.spot else "on-demand")
            note = "running" if attempt.running else "free hour" if attempt.free else ""
            name = run.run if attempt is run.by_attempt[0] else ""
            cells = (f"{attempt.hours:.2f}", *self._cells(attempt.parts, parts), dollars(attempt.cost))
            yield name, attempt.number, " ".join(filter(None, where)), *cells, note
        if len(run.by_attempt) > 1:
            yield "", "all", "", f"{run.hours:.2f}", *self._cells(run.parts, parts), dollars(run.cost), ""

    @staticmethod
    def _cells(costs: "Mapping[str, float]", parts: "Sequence[str]") -> "Iterator[str]":
        yield from (dollars(costs.get(part, 0.0)) for part in parts)


def _comparison(facts: "Comparison") -> "Iterator[RenderableType]":
    """Our costs compared with those of Cost Explorer, for days that are over."""
    named = [compared for compared in facts.runs or facts.days if compared.ours or compared.billed]
    rows = [(compared.name, *_compared(compared)) for compared in named]
    if len(rows) != 1:
        whole = facts.whole
        rows.append((whole.name, *_compared(whole)))
    what = "run" if facts.runs else "day"
    yield f"machines of {facts.days[0].name} to {facts.days[-1].name}, compared with Cost Explorer by the tag {facts.tag}"
    yield table((what, "ours", "billed", "difference", "%"), rows, right=("ours", "billed", "difference", "%"))


def _compared(row: "Compared") -> "Iterator[str]":
    yield dollars(row.ours)
    yield dollars(row.billed)
    yield ("+" if row.difference >= CENT / 2 else "") + dollars(row.difference)
    yield "" if row.percent is None else f"{row.percent:+.1f}"
