"""Runs: estimate, launch, status, logs, stop, resume, connect."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmlab.commands.state import State
from llmlab.errors import LabError, UsageError
from llmlab.ui import Hanging

if TYPE_CHECKING:
    from llmlab.ops.logs import LogLine
    from llmlab.ops.run_state import Run
    from llmlab.recipe import Recipe

RECIPE = "recipe.yaml"
WATCH_SECONDS = 5

RunArgument = Annotated[str, typer.Argument(help="A run id, a part of one, or latest.", metavar="RUN")]
RecipeOption = Annotated[
    str,
    typer.Option(help="A file, or the name of a shipped recipe.", metavar="FILE", show_default="recipe.yaml if there is one, else lora-1b"),
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="A field of the recipe, such as lora.rank=8; may be repeated.", metavar="FIELD=VALUE")
]
DataOption = Annotated[str, typer.Option(help="The dataset's name.", metavar="NAME", show_default="the only one")]
TypesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--instance-type", help="In order of preference; repeated or with commas.", metavar="TYPE", show_default="the cheapest for the run"
    ),
]


def register(app: typer.Typer) -> None:
    """Add this module's commands, in the order the help shows them."""
    for command in (estimate, launch, status, logs, stop, resume, connect):
        app.command()(command)


def estimate(
    ctx: typer.Context,
    recipe: RecipeOption = "",
    settings: SetOption = None,
    data: DataOption = "",
    instance_type: TypesOption = None,
    spot: Annotated[bool | None, typer.Option("--spot/--on-demand", help="One market alone.", show_default="both")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every type in every market, not only the best and the nearest rejected.")] = False,
) -> None:
    """VRAM, hours and dollars of a recipe on each instance type, spot and on-demand, and why a type is rejected."""
    from llmlab.commands import choice_screens
    from llmlab.ops import model_size
    from llmlab.ops.compare import compare
    from llmlab.ops.preflight import dataset_if_any, not_uploaded
    from llmlab.ops.supply import BOTH

    state: State = ctx.obj
    _, wanted = read_recipe(recipe, settings)
    size = model_size.of(state.aws, wanted.model, wanted.lab_model)
    manifest = dataset_if_any(state.aws, data)
    lacking = None if size else not_uploaded(state.aws, wanted.lab_model)
    types, markets = split(instance_type), BOTH if spot is None else (spot,)
    facts = compare(state.aws, state.settings, wanted, size, manifest, state.clock.now(), names=types, markets=markets, lacking=lacking)
    state.ui.show(facts, lambda: choice_screens.estimate(facts, every=every or bool(types), more=state.ui.again("--all")))
    given = {"--recipe": recipe, "--data": data, "--instance-type": ",".join(types)}
    words = [word for option, value in given.items() if value for word in (option, value)]
    state.ui.say(f"next: {facts.hint or choice_screens.next_step(facts, [*words, *(f'--set={one}' for one in settings or ())])}")


def launch(
    ctx: typer.Context,
    recipe: RecipeOption = "",
    settings: SetOption = None,
    data: DataOption = "",
    instance_type: TypesOption = None,
    spot: Annotated[
        bool, typer.Option("--spot/--on-demand", help="Spot costs a third and may be interrupted; the run then goes on by itself.")
    ] = False,
    fallback_on_demand: Annotated[bool, typer.Option("--fallback-on-demand", help="Take on-demand where no spot is to be had.")] = False,
    fallback_after: Annotated[int, typer.Option(help="With --fallback-on-demand: interruptions after which it goes on on demand.")] = 3,
    fallback_minutes: Annotated[
        float, typer.Option(help="With --fallback-on-demand: minutes without spot after which it goes on on demand.")
    ] = 15,
    wait_for_capacity: Annotated[float, typer.Option(help="Minutes to go on asking when no pool has an instance.", min=0, max=10_080)] = 0,
    max_hours: Annotated[
        float | None, typer.Option(help="The most instance time over all attempts.", show_default="of the settings")
    ] = None,
    max_cost: Annotated[float | None, typer.Option(help="The most it may cost, in US dollars.")] = None,
    no_auto_shutdown: Annotated[bool, typer.Option("--no-auto-shutdown", help="Keep the instance until the deadline.")] = False,
    idle_minutes: Annotated[float, typer.Option(help="End it after so many minutes of idle GPUs without a step; 0: never.")] = 20,
    no_resume: Annotated[bool, typer.Option("--no-resume", help="Do not start it again after an interruption.")] = False,
    wait_hours: Annotated[float, typer.Option(help="How long an interrupted run waits for capacity.")] = 24,
    image: Annotated[str, typer.Option(help="Tag of the training image.", metavar="TAG", show_default="the newest")] = "",
    wait: Annotated[bool, typer.Option("--wait", help="Follow it to its end; the exit code tells how it ended.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything and show what would start.")] = False,
) -> None:
    """Start a run: checks, prices and quotas first, then one instance. The laptop may be closed afterwards."""
    from llmlab.commands import choice_screens, run_screens
    from llmlab.ops.launch import launch as start
    from llmlab.ops.preflight import Wish, check

    state: State = ctx.obj
    name, wanted = read_recipe(recipe, settings)
    wish = Wish(
        recipe=wanted,
        data=data,
        instance_types=split(instance_type),
        spot=spot,
        fallback_on_demand=fallback_on_demand,
        max_hours=state.settings.max_hours if max_hours is None else max_hours,
        max_cost=max_cost,
        auto_shutdown=not no_auto_shutdown,
        resume=not no_resume,
        image=image,
        fallback_interruptions=fallback_after,
        fallback_minutes=fallback_minutes,
        wait_hours=wait_hours,
        idle_minutes=idle_minutes,
    )
    plan = check(state.aws, state.settings, wish, state.clock.now())
    if dry_run:
        state.ui.show(plan, lambda: run_screens.pairs(list(choice_screens.plan(plan, name))))
        return
    for title, words in choice_screens.plan(plan, name):
        state.ui.tell(Hanging(f"{title:<9} ", words))
    facts = start(state.aws, plan, state.clock, state.ui.say, wait_minutes=wait_for_capacity)
    if not wait:
        state.ui.show(facts, lambda: run_screens.pairs(list(run_screens.launched(facts))))
        state.ui.say(f"next: llmlab logs {facts.run} -f")
        return
    for title, words in run_screens.launched(facts):
        state.ui.tell(Hanging(f"{title:<9} ", words))
    follow(state, facts.run)


def status(
    ctx: typer.Context,
    run: Annotated[
        str, typer.Argument(help="One run, with everything about it: its id, a part of it, or latest.", metavar="[RUN]", show_default=False)
    ] = "",
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Again every few seconds, until the run is over.")] = False,
    every: Annotated[bool, typer.Option("--all", help="Every run, not only the newest.")] = False,
) -> None:
    """The lab and its runs, or one run: state, step, loss, tokens/s, GPU, time, cost, what is left."""
    state: State = ctx.obj
    if watch and state.ui.as_json:
        raise UsageError("--watch shows a screen and --json one document", "llmlab status --json")
    while True:
        final = show_run(state, run, clear=watch) if run else show_runs(state, every=every, clear=watch)
        if final or not watch:
            return
        state.clock.sleep(WATCH_SECONDS)


def show_runs(state: State, *, every: bool, clear: bool) -> bool:
    """The list; False, as there may always be another run."""
    from llmlab.commands import run_screens
    from llmlab.ops.overview import overview

    facts = overview(state.aws, state.clock.now(), every=every)
    if clear:
        state.ui.clear()
    state.ui.show(facts, lambda: run_screens.overview(facts, state.clock.now()))
    if not facts.there:
        state.ui.say("next: llmlab bootstrap")
    elif not facts.total:
        state.ui.say("next: llmlab launch")
    return False


def show_run(state: State, name: str, *, clear: bool) -> bool:
    """One run; whether it is over."""
    from llmlab.commands import run_screens
    from llmlab.ops.runs import detail, resolve

    facts = detail(state.aws, resolve(state.aws, name), state.clock.now())
    if clear:
        state.ui.clear()
    state.ui.show(facts, lambda: run_screens.one_run(facts, state.clock.now()))
    if facts.run.hint:
        state.ui.say(f"next: {facts.run.hint}")
    return facts.run.state.final


def logs(
    ctx: typer.Context,
    run: RunArgument = "latest",
    follow_it: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run is over.")] = False,
    stream: Annotated[list[str] | None, typer.Option(help="setup, training or agent; may be repeated.", show_default="all three")] = None,
    since: Annotated[str, typer.Option(help="Only what is newer, such as 10m or 2h.", metavar="AGE")] = "",
) -> None:
    """Setup, training and agent logs of all attempts, also after the instance is gone."""
    from llmlab.contract import LogStream
    from llmlab.ops import logs as op
    from llmlab.ops.runs import resolve

    state: State = ctx.obj
    unknown = [one for one in stream or () if one not in op.STREAMS]
    if unknown:
        raise UsageError(f"there is no log {unknown[0]}; there are: {', '.join(op.STREAMS)}", "llmlab logs --stream training")
    streams = tuple(LogStream(one) for one in stream or op.STREAMS)
    start = op.parse_since(since, state.clock.now()) if since else None
    name = resolve(state.aws, run)
    if state.ui.as_json:
        gathered: list[LogLine] = []
        if follow_it:
            op.follow(state.aws, name, streams, start, state.clock, gathered.append)
        else:
            gathered = op.read(state.aws, name, streams, start)
        state.ui.show(gathered, list)
        return

    def write(line: "LogLine") -> None:
        at = f"{line.at:%H:%M:%S} " if line.at else ""
        state.ui.line(f"{at}{line.stream:<8} {line.text}" if len(streams) > 1 else f"{at}{line.text}")

    if follow_it:
        op.follow(state.aws, name, streams, start, state.clock, write)
    else:
        for line in op.read(state.aws, name, streams, start):
            write(line)


def stop(
    ctx: typer.Context,
    run: RunArgument,
    now: Annotated[bool, typer.Option("--now", help="Without waiting for a checkpoint.")] = False,
    limit_minutes: Annotated[float, typer.Option(help="How long it may take to save.", min=0, max=120)] = 10,
) -> None:
    """End a run: it saves a checkpoint and its logs, then the instance goes."""
    from llmlab.commands import run_screens
    from llmlab.ops.runs import resolve
    from llmlab.ops.stop import stop as end

    state: State = ctx.obj
    name = resolve(state.aws, run)
    facts = end(state.aws, name, state.clock, state.ui.say, now=now, limit_minutes=limit_minutes)
    already = "was over already: " if facts.already else ""
    state.ui.show(facts, lambda: f"{name} {already}{run_screens.progress_line(facts.run)}")
    if facts.run.hint:
        state.ui.say(f"next: {facts.run.hint}")


def resume(
    ctx: typer.Context,
    run: RunArgument,
    spot: Annotated[bool | None, typer.Option("--spot/--on-demand", help="Another market than before.", show_default="as before")] = None,
    fallback_on_demand: Annotated[bool, typer.Option("--fallback-on-demand", help="Take on-demand where no spot is to be had.")] = False,
    wait_for_capacity: Annotated[float, typer.Option(help="Minutes to go on asking when no pool has an instance.", min=0, max=10_080)] = 0,
    max_hours: Annotated[float | None, typer.Option(help="Instance time from now on.", show_default="what is left")] = None,
    max_cost: Annotated[float | None, typer.Option(help="US dollars from now on.", show_default="what is left")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Follow it to its end; the exit code tells how it ended.")] = False,
) -> None:
    """Start a run again from its newest complete checkpoint."""
    from llmlab.commands import run_screens
    from llmlab.ops.resume import Again, resume as start
    from llmlab.ops.runs import resolve

    state: State = ctx.obj
    again = Again(spot, fallback_on_demand, max_hours, max_cost, wait_for_capacity)
    facts = start(state.aws, resolve(state.aws, run), again, state.clock, state.ui.say)
    if wait:
        state.ui.say(run_screens.resumed(facts))
        follow(state, facts.attempt.run)
        return
    state.ui.show(facts, lambda: run_screens.resumed(facts))
    state.ui.say(f"next: llmlab logs {facts.attempt.run} -f")


def connect(
    ctx: typer.Context,
    run: RunArgument = "latest",
    port_forward: Annotated[str, typer.Option(help="Forward a port instead, such as 6006 or 8080:80.", metavar="PORT")] = "",
) -> None:
    """A terminal on the run's instance, without an open port; detach with Ctrl-B D."""
    import subprocess

    from llmlab.ops.connect import connect as open_session
    from llmlab.ops.runs import resolve

    state: State = ctx.obj
    session = open_session(state.aws, resolve(state.aws, run), profile=state.settings.profile or "", forward=port_forward)
    code = subprocess.run(session.command, check=False).returncode
    if code:
        raise LabError(f"the session with {session.instance} ended with code {code}", f"llmlab connect {run}")


# ---------------------------------------------------------------- shared by the commands


def read_recipe(name: str, settings: Sequence[str] | None) -> tuple[str, "Recipe"]:
    """The recipe the user means, and what to call it: the file named, `recipe.yaml` of this folder, or the shipped default."""
    from llmlab.recipe import DEFAULT, load

    overrides: dict[str, str] = {}
    for setting in settings or ():
        field, equals, value = setting.partition("=")
        if not equals or not field:
            raise UsageError(f"--set takes FIELD=VALUE, not {setting}", "llmlab launch --set lora.rank=8")
        overrides[field] = value
    chosen = name or (RECIPE if Path(RECIPE).is_file() else DEFAULT)
    return chosen, load(chosen, overrides)


def split(types: Sequence[str] | None) -> tuple[str, ...]:
    """Instance types out of repeated options and commas, each once."""
    return tuple(dict.fromkeys(name.strip() for text in types or () for name in text.split(",") if name.strip()))


def follow(state: State, run: str) -> None:
    """Tell how a run is until it is over; a run that did not succeed is an error."""
    from llmlab.commands import run_screens
    from llmlab.ops.follow import follow as op
    from llmlab.ops.runs import detail

    told: tuple[object, ...] = ()

    def changed(now: "Run") -> None:
        nonlocal told
        tenth = 10 * now.step // now.total_steps if now.total_steps else 0
        face = (now.state, now.attempt, now.phase, tenth)
        if face != told:
            told = face
            state.ui.say(run_screens.progress_line(now))

    ended = op(state.aws, run, state.clock, changed)
    facts = detail(state.aws, run, state.clock.now())
    state.ui.show(facts, lambda: run_screens.one_run(facts, state.clock.now()))
    if ended.state != "succeeded":
        raise LabError(f"{run} ended as {run_screens.state_words(ended)}{': ' if ended.detail else ''}{ended.detail}", ended.hint)
    state.ui.say(f"next: {ended.hint}")
