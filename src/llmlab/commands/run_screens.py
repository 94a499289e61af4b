"""The screens of runs: the list, one run, and the results of launch, resume and rm."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from llmlab.commands import progress
from llmlab.commands.formatting import CENT, count, dollars, duration, hours, moment, size
from llmlab.contract import LEARNED, EndReason, RunState
from llmlab.lifecycle.billing import total_parts
from llmlab.ui import empty_table, table

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

    from llmlab.ops.lab_status import Overview
    from llmlab.ops.launch import Launch
    from llmlab.ops.resume import Prepared, Resumed
    from llmlab.ops.run_removal import Leaving
    from llmlab.ops.run_status import Run
    from llmlab.ops.runs import Detail

WIDE = 110
FREE = ", free (first hour)"
STYLES = {
    RunState.SUCCEEDED: "green", RunState.FAILED: "red", RunState.RUNNING: "cyan",
    RunState.STOPPED: "yellow", RunState.INTERRUPTED: "yellow", RunState.UNREADABLE: "red",
}  # fmt: skip


# ---------------------------------------------------------------- words


def state_words(run: "Run") -> str:
    """The state of a run in words, as `running`, `starting`, `failed (out_of_memory)`."""
    if run.state is RunState.RUNNING and run.phase not in {"", "training"}:
        return f"{run.state} ({run.phase})"
    if run.reason and run.reason not in {EndReason.COMPLETED, EndReason.STOPPED_BY_USER}:
        return f"{run.state} ({run.reason})"
    return str(run.state)


def step_words(run: "Run") -> str:
    if not run.step and not run.total_steps:
        return ""
    return f"{run.step or 0}/{run.total_steps}" if run.total_steps else str(run.step)


def learned_words(run: "Run", digits: int = 3) -> str:
    """The newest values of LEARNED, as `loss 0.273, reward 0.812`."""
    numbers = {name: getattr(run, name) for name in LEARNED}
    return ", ".join(f"{name} {number:.{digits}f}" for name, number in numbers.items() if number is not None)


def hours_words(run: "Run") -> str:
    return duration(None if run.hours is None else run.hours * 3600)


def progress_line(run: "Run") -> str:
    """The progress of a run in one line."""
    parts = [f"step {step_words(run)}" if step_words(run) else "", learned_words(run)]
    parts += [
        f"{count(run.tokens_per_second)} tokens/s" if run.tokens_per_second else "",
        f"GPU {run.gpu_percent:.0f} %" if run.gpu_percent else "",
    ]
    parts += [
        f"{dollars(run.cost)} so far" if run.cost and run.cost >= CENT / 100 else "",
        f"{duration(run.eta_seconds)} left" if run.eta_seconds else "",
    ]
    head = state_words(run) + (f", attempt {run.attempt}" if (run.attempt or 0) > 1 else "")
    return ", ".join([head, *filter(None, parts)])


def parts_words(parts: Mapping[str, float]) -> str:
    """The parts of a cost, as `: instance $0.31, disk $0.03, address $0.01`; "" for the instance alone."""
    named = [f"{what} {dollars(amount)}" for what, amount in parts.items() if amount]
    return f": {', '.join(named)}" if len(parts) > 1 and named else ""


# ---------------------------------------------------------------- the list


def _decimals(number: float | None) -> str:
    return "" if number is None else f"{number:.3f}"


class RunsTable:
    """The table of runs, with more columns on a wide terminal; an empty column is not drawn."""

    def __init__(self, runs: Sequence["Run"], now: datetime) -> None:
        self.runs = runs
        self.now = now

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        from rich.text import Text

        columns: dict[str, list[object]] = {
            "run": [run.run for run in self.runs],
            "name": [run.name or "" for run in self.runs],
            "state": [Text(state_words(run), STYLES.get(run.state, "")) for run in self.runs],
            "step": [step_words(run) for run in self.runs],
            **{name: [_decimals(getattr(run, name)) for run in self.runs] for name in LEARNED},
            "tokens/s": [count(run.tokens_per_second) for run in self.runs],
            "GPU": ["" if run.gpu_percent is None else f"{run.gpu_percent:.0f} %" for run in self.runs],
            "time": [hours_words(run) for run in self.runs],
            "cost": [dollars(run.cost) for run in self.runs],
            "left": [duration(run.eta_seconds) for run in self.runs],
            "ended": [f"{duration((self.now - run.ended).total_seconds())} ago" if run.ended else "" for run in self.runs],
            "instance": [f"{run.instance_type} {'spot' if run.spot else ''}".strip() for run in self.runs],
        }
        if options.max_width < WIDE:
            columns = {name: cells for name, cells in columns.items() if name not in {"tokens/s", "GPU", "instance", "ended"}}
        columns = {name: cells for name, cells in columns.items() if any(str(cell) for cell in cells)}
        yield self._drawn(columns)

    @staticmethod
    def _drawn(columns: dict[str, list[object]]) -> "RenderableType":
        drawn = empty_table(padding=(0, 1, 0, 0))
        for name in columns:
            left = name in {"run", "name", "state", "instance"}
            drawn.add_column(name, justify="left" if left else "right", no_wrap=name not in {"name", "state"}, overflow="fold")
        for row in zip(*columns.values(), strict=True):
            drawn.add_row(*row)
        return drawn


def overview(facts: "Overview", now: datetime) -> Iterator["RenderableType"]:
    """The screen of `status`: the lab in two lines, then its runs."""
    where = f"in {facts.region}, account {facts.account}"
    if not facts.bootstrapped:
        kept = f"its results are kept: {facts.total} run{'' if facts.total == 1 else 's'}" if facts.total else "its outputs bucket is empty"
        yield f"there is no lab {facts.lab} {where}; {kept}"
    else:
        yield f"{facts.lab} {where}"
        yield _lab_words(facts)
    if facts.runs:
        yield ""
        yield RunsTable(facts.runs, now)
    more = facts.total - len(facts.runs)
    if more:
        yield f"\n{more} older: llmlab status --all"


def _lab_words(facts: "Overview") -> str:
    image = (
        f"image {', '.join(facts.image.tags) or facts.image.reference[-12:]} of {facts.image.pushed:%Y-%m-%d}"
        if facts.image
        else "no image yet"
    )
    money = f"{dollars(facts.budget.spent)} of {dollars(facts.budget.limit)} this month" if facts.budget else "no budget"
    return f"{image} · {money} · " + (
        f"{facts.live} live of {facts.total} run{'' if facts.total == 1 else 's'}" if facts.total else "no runs yet"
    )


# ---------------------------------------------------------------- one run


def one_run(facts: "Detail", now: datetime) -> Iterator["RenderableType"]:
    """The screen of `status RUN`: everything about one run."""
    yield pairs([*_course(facts, now), *_parts(facts)])
    if facts.attempts:
        yield ""
        yield AttemptsTable(facts)


def ended(facts: "Detail", now: datetime) -> Iterator["RenderableType"]:
    """The screen after a followed run has ended: its course, and its attempts where there are several."""
    yield pairs(list(_course(facts, now)))
    if len(facts.attempts) > 1:
        yield ""
        yield AttemptsTable(facts)


def _course(facts: "Detail", now: datetime) -> Iterator[tuple[str, str]]:
    run, spec = facts.run, facts.spec
    yield "run", run.run + (f" ({run.name})" if run.name else "")
    yield "state", state_words(run) + (f", attempt {run.attempt}" if (run.attempt or 0) > 1 else "")
    if run.detail:
        yield "because", run.detail
    if run.state in {RunState.STARTING, RunState.RUNNING}:
        yield "progress", f"{progress.bar(progress.share(run))}  {progress.stage(run)}"
    if step_words(run):
        yield "step", ", ".join(filter(None, [step_words(run), learned_words(run, 4)]))
    if run.tokens_per_second and not run.state.final:
        gpu = [
            f"GPU {run.gpu_percent:.0f} %" if run.gpu_percent is not None else "",
            f"{run.gpu_memory_gib:.1f} GiB" if run.gpu_memory_gib else "",
        ]
        yield "speed", ", ".join(filter(None, [f"{count(run.tokens_per_second)} tokens/s", *gpu]))
    if run.checkpoint:
        yield "checkpoint", f"{run.checkpoint}, whole in S3"
    limit = facts.attempts[-1].max_hours if facts.attempts else spec.max_hours
    left = f", {duration(run.eta_seconds)} left" if run.eta_seconds else ""
    yield "time", f"{hours_words(run) or '0s'} of at most {duration(limit * 3600)}{left}"
    if run.cost is not None:
        most = f" of at most {dollars(spec.max_cost)}" if spec.max_cost else ""
        yield "cost", f"{dollars(run.cost)}{most}{parts_words(total_parts(attempt.parts for attempt in run.attempts or ()))}"
    if run.ended:
        yield "ended", moment(run.ended)
    elif run.deadline:
        yield "deadline", moment(run.deadline)
    if run.heard and not run.state.final:
        yield "heard", f"{duration((now - run.heard).total_seconds())} ago"
    if not run.state.final and not spec.auto_shutdown:
        yield "afterwards", "the instance stays until the deadline (--no-auto-shutdown)"


def _parts(facts: "Detail") -> Iterator[tuple[str, str]]:
    run, spec = facts.run, facts.spec
    if run.instance:
        yield "instance", f"{run.instance}, {run.instance_type} in {run.zone}, {'spot' if run.spot else 'on-demand'}"
    yield "recipe", f"{objective_words(run.objective, spec.recipe)}{spec.recipe.get('method', '')} on {spec.recipe.get('model', '')}"
    if rewards := rewards_words(spec.recipe):
        yield "rewards", rewards
    examples = spec.data.facts.get("examples")
    yield "data", spec.data.name + (f", {count(examples)} examples" if isinstance(examples, int) else "")
    yield "image", spec.image.rpartition("@")[2][:19]
    yield "machine", f"{spec.ami}, {len(spec.pools)} pools: {', '.join(dict.fromkeys(pool.instance_type for pool in spec.pools))}"


def objective_words(objective: str | None, recipe: Mapping[str, Any]) -> str:
    """The objective as a prefix, `dpo, ` or `sft by TRL, `; "" for sft by our own engine."""
    by_trl = recipe.get("engine") == "trl"
    return "" if objective == "sft" and not by_trl else f"{objective}{' by TRL' if by_trl else ''}, "


def rewards_words(recipe: Mapping[str, Any]) -> str:
    """The rewards of a recipe, as `exact_match, 0.5 x reward.py`; "" for an objective without rewards."""
    section = recipe.get("grpo")
    rewards = section.get("rewards") if isinstance(section, dict) and recipe.get("objective") == "grpo" else None
    return ", ".join(_reward_words(reward) for reward in rewards if isinstance(reward, dict)) if isinstance(rewards, list) else ""


def _reward_words(reward: Mapping[str, Any]) -> str:
    name = next((name for name, value in reward.items() if name != "weight" and value), "")
    file = reward[name].get("file", name) if name == "file" and isinstance(reward[name], dict) else name
    weight = reward.get("weight", 1)
    return str(file) if weight == 1 else f"{weight} x {file}"


class AttemptsTable:
    """The table of attempts; who started each and its instance only on a wide terminal."""

    def __init__(self, facts: "Detail") -> None:
        self.facts = facts

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        run, ends = self.facts.run, {end.number: end for end in self.facts.ends}
        costs = {cost.number: cost for cost in run.attempts or ()}
        wide = options.max_width >= WIDE
        rows = []
        for attempt in self.facts.attempts:
            end, last, spent = ends.get(attempt.number), attempt is self.facts.attempts[-1], costs.get(attempt.number)
            how = f"{end.reason} at step {end.step}" if end else str(run.reason or run.state) if last else ""
            how += FREE if spent and spent.free else ""
            where = (
                f"{attempt.instance_type} {attempt.zone} {'spot' if attempt.spot else 'on-demand'}" if attempt.instance else "no instance"
            )
            more = (attempt.by, attempt.instance) if wide else ()
            used = (duration(spent.hours * 3600), dollars(spent.cost)) if spent else ("", "")
            rows.append((attempt.number, *more, where, dollars(attempt.price or None), *used, how))
        columns = ("attempt", *(("by", "instance") if wide else ()), "where", "$/h", "time", "cost", "end")
        yield table(columns, rows, right=("attempt", "$/h", "time", "cost"))


def pairs(rows: Sequence[tuple[str, str]]) -> "RenderableType":
    """A table of names and values in two columns."""
    drawn = empty_table(show_header=False, padding=(0, 2, 0, 0))
    drawn.add_column(style="dim", no_wrap=True)
    drawn.add_column(overflow="fold")
    for name, value in rows:
        drawn.add_row(name, value)
    return drawn


# ---------------------------------------------------------------- after a launch


def launched(facts: "Launch") -> Iterator[tuple[str, str]]:
    """The result of a launch, as names and values."""
    about = "about " if facts.approximate else ""
    yield "run", facts.run + (f" ({facts.name})" if facts.name else "")
    yield "instance", f"{facts.instance}, {facts.instance_type} in {facts.zone}, {'spot' if facts.spot else 'on-demand'}"
    most = f"; at most {dollars(facts.most_cost)} if an interruption moves it" if facts.most_cost > facts.full_cost else ""
    least = f"at most {dollars(facts.full_cost)} for {hours(facts.max_hours)} with disk and address"
    yield "price", f"{about}{dollars(facts.price)} an hour, {least}{most}"
    yield "deadline", f"{moment(datetime.fromtimestamp(facts.deadline, UTC))}; it ends by itself, so the laptop may be closed"


def removal_question(facts: "Leaving") -> str:
    """The question before a run is deleted."""
    return f"delete {_leaving(facts)}, which nothing brings back?"


def removed(facts: "Leaving") -> str:
    """The result of `rm` in a line."""
    return f"deleted {_leaving(facts)}"


def _leaving(facts: "Leaving") -> str:
    what = f"{facts.files:,} file{'' if facts.files == 1 else 's'} in {facts.versions:,} version{'' if facts.versions == 1 else 's'}"
    return f"{facts.run}{f' ({facts.name})' if facts.name else ''}: {what}, {size(facts.size)}"


def resume_question(facts: "Prepared") -> str:
    """The question before a run is resumed."""
    attempt = facts.attempt
    market = "spot" if attempt.spot else "on-demand"
    return f"start {attempt.run} again, {market}, for at most {hours(facts.most_hours)}, {dollars(facts.most_cost)}?"


def resumed(facts: "Resumed") -> str:
    """The result of a resume in a sentence."""
    attempt = facts.attempt
    where = f"from step {facts.step}" if facts.step else "from the beginning"
    market = "spot" if attempt.spot else "on-demand"
    return (
        f"{attempt.run} goes on {where} as attempt {attempt.number} on {attempt.instance}, "
        f"{attempt.instance_type} in {attempt.zone}, {market}, {dollars(attempt.price)} an hour, at most {dollars(facts.most_cost)}"
    )
