"""Money: cost."""

from typing import TYPE_CHECKING, Annotated

import typer

from llmlab.commands.state import State
from llmlab.ui import table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from llmlab.ops.cost import Costs


def register(app: typer.Typer) -> None:
    """Add this module's commands, in the order the help shows them."""
    app.command()(cost)


def cost(
    ctx: typer.Context,
    cost_explorer: Annotated[bool, typer.Option(help="Ask Cost Explorer too: two questions of one cent each.")] = True,
) -> None:
    """This month by run and by service, the budget and the forecast."""
    from llmlab.ops.cost import cost as ask

    state: State = ctx.obj
    facts = ask(state.aws, state.clock, cost_explorer=cost_explorer)
    state.ui.show(facts, lambda: view(facts))
    for note in facts.notes:
        state.ui.say(f"note: {note}")


def view(facts: "Costs") -> "Iterator[RenderableType]":
    """The month in words."""
    rows: list[tuple[object, ...]] = [
        (
            one.run,
            ", ".join(one.instance_types),
            "spot" if one.spot else "on-demand",
            one.attempts,
            f"{one.hours:.2f}",
            f"{one.cost:.2f}",
            "running" if one.running else "",
        )
        for one in facts.runs
    ]
    rows.append(("total", "", "", "", f"{sum(one.hours for one in facts.runs):.2f}", f"{facts.total:.2f}", ""))
    columns = ("run", "instance", "market", "attempts", "hours", "$", "")
    yield f"instance time in {facts.month}, at the prices noted at launch"
    yield table(columns, rows, right=("attempts", "hours", "$"))
    if facts.services is not None:
        yield ""
        services = [(name, f"{amount:.2f}") for name, amount in facts.services.items()] or [("nothing yet", "0.00")]
        yield "Cost Explorer, about a day behind"
        yield table(("service", "$"), services, right=("$",))
    if facts.budget:
        expected = "" if facts.budget.forecast is None else f", {facts.budget.forecast:.2f} expected"
        yield f"\nbudget: {facts.budget.limit:.2f} $ a month, {facts.budget.spent:.2f} spent{expected}"
    if facts.forecast is not None:
        yield f"forecast for the rest of the month: {facts.forecast:.2f} $"
