"""The commands on existing runs: status, logs, stop, resume, rm, connect."""

from typing import TYPE_CHECKING, Annotated

import typer

from llmlab.commands import completing
from llmlab.commands.context import CliContext
from llmlab.errors import LabError, UsageError

if TYPE_CHECKING:
    from llmlab.ops.logs import LogLine, LogQuery
    from llmlab.ops.run_status import Run

WATCH_SECONDS = 5

RunArgument = Annotated[
    str, typer.Argument(help="A run's id, a part of it, its name, or latest.", metavar="RUN", autocompletion=completing.runs)
]


def register(app: typer.Typer) -> None:
    """Add this module's commands, in the order the help shows them."""
    for command in (status, logs, stop, resume, rm, connect):
        app.command()(command)


def status(
    ctx: typer.Context,
    run: Annotated[
        str,
        typer.Argument(
            help="One run, with everything about it: its id, a part of it, its name, or latest.",
            metavar="[RUN]",
            show_default=False,
            autocompletion=completing.runs,
        ),
    ] = "",
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Again every few seconds, until the run is over.")] = False,
    every: Annotated[bool, typer.Option("--all", help="Every run, not only the newest.")] = False,
) -> None:
    """The lab and its runs, or one run: state, step, loss, tokens/s, GPU, time, cost, what is left."""
    cli: CliContext = ctx.obj
    if watch and cli.ui.as_json:
        raise UsageError("--watch shows a screen and --json one document", "llmlab status --json", without=["--watch", "-w"])
    while True:
        final = show_run(cli, run, clear=watch) if run else show_runs(cli, every=every, clear=watch)
        if final or not watch:
            return
        cli.clock.sleep(WATCH_SECONDS)


def show_runs(cli: CliContext, *, every: bool, clear: bool) -> bool:
    """Show the list of runs; returns False, because more runs may start at any time."""
    from llmlab.commands import run_screens
    from llmlab.ops.lab_status import overview
    from llmlab.ops.runs import first_step

    facts = overview(cli.aws, cli.clock.now(), every=every)
    if clear:
        cli.ui.clear()
    cli.ui.show(facts, lambda: run_screens.overview(facts, cli.clock.now()))
    if not facts.bootstrapped:
        cli.ui.suggest("llmlab bootstrap")
    elif not facts.total:
        cli.ui.suggest(first_step(cli.aws))
    return False


def show_run(cli: CliContext, name: str, *, clear: bool) -> bool:
    """Show one run; returns whether it is over."""
    from llmlab.commands import run_screens
    from llmlab.ops.runs import detail, resolve

    facts = detail(cli.aws, resolve(cli.aws, name), cli.clock.now())
    if clear:
        cli.ui.clear()
    cli.ui.show(facts, lambda: run_screens.one_run(facts, cli.clock.now()))
    if facts.run.hint:
        cli.ui.suggest(facts.run.hint)
    return facts.run.state.final


def logs(
    ctx: typer.Context,
    run: RunArgument = "latest",
    follow_it: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run is over.")] = False,
    stream: Annotated[
        list[str] | None,
        typer.Option(help="setup, training or agent; may be repeated.", show_default="all three", autocompletion=completing.streams),
    ] = None,
    since: Annotated[str, typer.Option(help="Only what is newer, such as 10m or 2h.", metavar="AGE")] = "",
    tail: Annotated[
        int | None,
        typer.Option(
            "--tail", "-n", help="Only the last lines.", min=0, metavar="LINES", show_default="all; 20 on a terminal and with --follow"
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Also what the machine's own programs say while it starts.")] = False,
) -> None:
    """Setup, training and agent logs of all attempts, in order, also after the instance is gone."""
    from llmlab.contract import LogStream
    from llmlab.ops import logs as op
    from llmlab.ops.runs import resolve

    cli: CliContext = ctx.obj
    unknown = [name for name in stream or () if name not in op.STREAMS]
    if unknown:
        raise UsageError(f"there is no log {unknown[0]}; there are: {', '.join(op.STREAMS)}", "llmlab logs --stream training")
    wanted = op.LogQuery(
        streams=tuple(LogStream(name) for name in stream or op.STREAMS),
        since=op.parse_since(since, cli.clock.now()) if since else None,
        tail=op.FOLLOWED if tail is None and follow_it and not since else tail,
        plumbing=every or LogStream.SETUP in (stream or ()),
    )
    name = resolve(cli.aws, run)
    if follow_it:
        op.follow(cli.aws, name, wanted, cli.clock, lambda line: write_line(cli, wanted, line))
        return
    lines = op.read(cli.aws, name, wanted)
    if cli.ui.as_json:
        cli.ui.show(lines, list)
        return
    earlier = len(lines) - SCREEN if cli.ui.stdout.isatty() and not (stream or since or every) and tail is None else 0
    if earlier > 0:
        cli.ui.say(f"{earlier:,} earlier lines; with them: {cli.ui.again('--all')}")
        lines = lines[earlier:]
    for line in lines:
        write_line(cli, wanted, line)
    if not lines:
        cli.ui.say(f"no line of {name} is newer than {since}" if since else f"every line of {name} is about its machine: see --all")


SCREEN = 20
"""Lines of a log that are shown on a terminal without options; a pipe or a file gets all."""


def write_line(cli: CliContext, wanted: "LogQuery", line: "LogLine") -> None:
    """Print one line of a log, with `--json` as a document of its own."""
    if cli.ui.as_json:
        cli.ui.record(line)
        return
    at = f"{line.at:%Y-%m-%dT%H:%M:%SZ} " if line.at else ""
    cli.ui.line(f"{at}{line.stream:<8} {line.text}" if len(wanted.streams) > 1 else f"{at}{line.text}")


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

    cli: CliContext = ctx.obj
    name = resolve(cli.aws, run)
    facts = end(cli.aws, name, cli.clock, cli.ui.say, now=now, limit_minutes=limit_minutes)
    already = "was over already: " if facts.already else ""
    cli.ui.show(facts, lambda: f"{name} {already}{run_screens.progress_line(facts.run)}")
    if facts.run.hint:
        cli.ui.suggest(facts.run.hint)


def resume(
    ctx: typer.Context,
    run: RunArgument,
    spot: Annotated[bool | None, typer.Option("--spot/--on-demand", help="Another market than before.", show_default="as before")] = None,
    fallback_on_demand: Annotated[bool, typer.Option("--fallback-on-demand", help="Take on-demand where no spot is to be had.")] = False,
    wait_for_capacity: Annotated[float, typer.Option(help="Minutes to go on asking when no pool has an instance.", min=0, max=10_080)] = 0,
    max_hours: Annotated[float | None, typer.Option(help="Instance time from now on.", show_default="what is left")] = None,
    max_cost: Annotated[float | None, typer.Option(help="US dollars from now on.", show_default="what is left")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Follow it to its end; the exit code tells how it ended.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Start a run again from its newest complete checkpoint, after a question."""
    from llmlab.commands import run_screens
    from llmlab.ops.resume import Again, prepare, resume as start
    from llmlab.ops.runs import resolve

    cli: CliContext = ctx.obj
    again = Again(spot, fallback_on_demand, max_hours, max_cost, wait_for_capacity, cli.ui.again())
    name = resolve(cli.aws, run)
    if not yes:
        cli.ui.confirm(run_screens.resume_question(prepare(cli.aws, name, again, cli.clock)), yes=False)
    facts = start(cli.aws, name, again, cli.clock, cli.ui.say)
    if wait:
        cli.ui.say(run_screens.resumed(facts))
        follow(cli, facts.attempt.run)
        return
    cli.ui.show(facts, lambda: run_screens.resumed(facts))
    cli.ui.suggest(f"llmlab logs {facts.attempt.run} -f")


def rm(
    ctx: typer.Context,
    run: RunArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a run that is over from S3, with every version, after a question. What was fetched stays."""
    from llmlab.commands import run_screens
    from llmlab.ops.run_removal import prepare, remove, which

    cli: CliContext = ctx.obj
    name = which(cli.aws, run)
    if not yes:
        cli.ui.confirm(run_screens.removal_question(prepare(cli.aws, name, cli.clock.now())), yes=False)
    facts = remove(cli.aws, name, cli.clock.now())
    cli.ui.show(facts, lambda: run_screens.removed(facts))


def connect(
    ctx: typer.Context,
    run: RunArgument = "latest",
    port_forward: Annotated[str, typer.Option(help="Forward a port instead, such as 6006 or 8080:80.", metavar="PORT")] = "",
) -> None:
    """A terminal on the run's instance, without an open port; detach with Ctrl-B D."""
    import subprocess

    from llmlab.ops.connect import connect as open_session
    from llmlab.ops.runs import resolve

    cli: CliContext = ctx.obj
    session = open_session(cli.aws, resolve(cli.aws, run), profile=cli.settings.profile or "", forward=port_forward)
    code = subprocess.run(session.command, check=False).returncode
    if code:
        raise LabError(f"the session with {session.instance} ended with code {code}", f"llmlab connect {run}")


# ---------------------------------------------------------------- until it is over


def follow(cli: CliContext, run: str) -> None:
    """Show a run's progress until it is over; raises `LabError` if it did not succeed."""
    from llmlab.commands import progress, run_screens
    from llmlab.ops.follow import follow as op
    from llmlab.ops.runs import detail

    shown: tuple[object, ...] = ()

    def changed(now: "Run") -> None:
        nonlocal shown
        if paint:
            paint(progress.line(now))
            return
        tenth = 10 * (now.step or 0) // now.total_steps if now.total_steps else 0
        face = (now.state, now.attempt, now.phase, tenth)
        if face != shown:
            shown = face
            cli.ui.say(run_screens.progress_line(now))

    with cli.ui.painted() as paint:
        ended = op(cli.aws, run, cli.clock, changed)
    facts = detail(cli.aws, run, cli.clock.now())
    cli.ui.show(facts, lambda: run_screens.ended(facts, cli.clock.now()))
    if ended.state != "succeeded":
        raise LabError(f"{run} ended as {run_screens.state_words(ended)}{': ' if ended.detail else ''}{ended.detail}", ended.hint)
    cli.ui.suggest(ended.hint)
