"""Data: validate, upload and fetch."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmlab.commands.state import State
from llmlab.commands.words import size
from llmlab.errors import DataError, ExitCode, UsageError
from llmlab.ui import table

if TYPE_CHECKING:
    from rich.console import RenderableType

    from llmlab.dataset.report import Report
    from llmlab.ops.fetch import Fetched
    from llmlab.ops.upload import Uploaded
    from llmlab.recipe import Recipe

SHOWN_PROBLEMS = 20
SHOWN_PLACES = 3
SHOWN_NAMES = 8
OUTPUTS = Path("outputs")

KINDS = "A .jsonl, .ndjson, .json, .csv, .parquet or .arrow file, perhaps packed, or a folder of them."
PARTS = "Of adapter, checkpoints, logs, report; several with commas."

DataPath = Annotated[Path, typer.Argument(help=KINDS, show_default=False)]
MaxLength = Annotated[
    int | None, typer.Option(help="Count the examples longer than this many tokens.", min=1, show_default="of recipe.yaml if there is one")
]
Tokenizer = Annotated[Path | None, typer.Option(help="Model folder or tokenizer.json to count tokens with; estimated otherwise.")]


def register(app: typer.Typer) -> None:
    """Add this module's commands, in the order the help shows them."""
    app.command()(validate)
    app.command()(upload)
    app.command()(fetch)


def _show_forms(ctx: typer.Context, wanted: bool) -> None:
    """Print the forms that a row may have, and end."""
    if not wanted:
        return
    from llmlab.dataset.forms import shown

    state: State = ctx.obj
    forms = [
        {"form": name, "keys": keys, "becomes": becomes, "examples": examples, "described": sources}
        for name, keys, becomes, examples, sources in shown()
    ]
    state.ui.show(forms, lambda: forms_view(forms))
    raise typer.Exit


Forms = Annotated[
    bool, typer.Option("--forms", help="Print every form a row may have, with an example.", is_eager=True, callback=_show_forms)
]


def validate(
    ctx: typer.Context,
    path: DataPath,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Bad lines are counted, and no reason to fail.")] = False,
    max_length: MaxLength = None,
    tokenizer: Tokenizer = None,
    forms: Forms = False,  # noqa: ARG001 - its callback has done it
) -> None:
    """Check every line of a dataset: format, counts, token lengths, and what is wrong with which line."""
    state: State = ctx.obj
    recipe = _recipe_at_hand(state)
    report = _checked(state, path, max_length or (recipe.max_length if recipe else None), tokenizer)
    state.ui.show({"good": not report.bad, "trained_share": report.trained_share} | report.document, lambda: report_view(state, report))
    _fail_if_bad(state, path, report, skip_bad=skip_bad, then=f"llmlab validate {path}")
    _other_objective(state, recipe, report, path.resolve().name)


def upload(
    ctx: typer.Context,
    path: Annotated[Path, typer.Argument(help="A dataset's file or folder; with --model, a model folder.", show_default=False)],
    name: Annotated[str | None, typer.Option(help="What a launch calls the dataset.", show_default="the folder's name")] = None,
    model: Annotated[str | None, typer.Option(help="Upload a model folder under this name; a recipe says model: lab:NAME.")] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave bad lines out instead of stopping at them.")] = False,
    max_length: MaxLength = None,
    tokenizer: Tokenizer = None,
) -> None:
    """Check a dataset and upload what has changed of it; or a model folder, with --model."""
    from llmlab.ops import upload as ops

    state: State = ctx.obj
    if model is not None:
        if name is not None or skip_bad:
            raise UsageError(
                "--model goes alone: a model has one name and no lines",
                f"llmlab upload {path} --model {model}",
                without=["--name", "--skip-bad"],
            )
        destination = ops.model_destination(state.aws, path, model)
        with state.ui.bar("uploading", "bytes") as progress:
            done = ops.upload_model(state.aws, state.clock, path, destination, progress)
        state.ui.show(done, lambda: upload_view(done))
        state.ui.say(f"next: llmlab launch --set model=lab:{done.name}")
        return
    destination = ops.dataset_destination(state.aws, path, name)
    recipe = _recipe_at_hand(state)
    report = _checked(state, path, max_length or (recipe.max_length if recipe else None), tokenizer)
    if not state.ui.as_json or (report.bad and not skip_bad):
        state.ui.show({"good": not report.bad} | report.document, lambda: report_view(state, report))
    again = f"llmlab upload {path}" + (f" --name {name}" if name else "")
    _fail_if_bad(state, path, report, skip_bad=skip_bad, then=again, nothing=", nothing was uploaded")
    with state.ui.bar("uploading", "bytes") as progress:
        done = ops.upload_dataset(state.aws, state.clock, path, destination, report, progress, skip_bad=skip_bad)
    state.ui.show(done, lambda: ["", *upload_view(done)])
    state.ui.say(f"next: {_other_objective(state, recipe, report, done.name) or f'llmlab launch --data {done.name}'}")


def fetch(
    ctx: typer.Context,
    run: Annotated[str, typer.Argument(help="A run's id, a part of it, its name, or latest.")] = "latest",
    only: Annotated[str | None, typer.Option(help=PARTS, show_default="all but checkpoints")] = None,
    output: Annotated[Path, typer.Option(help="The folder that gets a folder for the run.")] = OUTPUTS,
) -> None:
    """Download what a run has made into outputs/RUN, checked, and nothing twice."""
    from llmlab.ops import fetch as ops
    from llmlab.ops.runs import resolve

    state: State = ctx.obj
    parts = ops.parse_only(only)
    found = resolve(state.aws, run)
    with state.ui.bar("fetching", "bytes") as progress:
        done = ops.fetch(state.aws, found, output, parts, progress)
    state.ui.show(done, lambda: fetch_view(done))
    if done.archived:
        state.ui.say(f"hint: llmlab fetch {found}" + (f" --only {only}" if only else ""))
        raise typer.Exit(int(ExitCode.FAILED))


# ---------------------------------------------------------------- what the commands share


def _checked(state: State, path: Path, max_length: int | None, tokenizer: Path | None) -> "Report":
    from llmlab.ops.validate import validate as check

    with state.ui.bar("checking", "bytes") as progress:
        return check(path, max_length=max_length, tokenizer=tokenizer, progress=progress)


def _recipe_at_hand(state: State) -> "Recipe | None":
    """The recipe that a launch from this folder takes. One that cannot be read is said, and no reason to look at no data."""
    from llmlab.commands.launch import RECIPE
    from llmlab.ops.suited import recipe_at

    recipe, why = recipe_at(Path(RECIPE))
    if why:
        state.ui.say(f"data and recipe were not compared: {why}", "yellow")
    return recipe


def _other_objective(state: State, recipe: "Recipe | None", report: "Report", name: str) -> str:
    """The launch that suits the data where the recipe at hand does not, "" where it does; it is said."""
    from llmlab.ops.suited import unsuited

    error = unsuited(recipe, report.kinds, name) if recipe else None
    if error:
        state.ui.say(f"with the recipe of this folder, {error}", "yellow")
    return error.hint if error and error.hint else ""


def _fail_if_bad(state: State, path: Path, report: "Report", *, skip_bad: bool, then: str, nothing: str = "") -> None:
    from llmlab.ops.validate import refuse

    refuse(path, report)
    if not report.bad:
        return
    if skip_bad:
        state.ui.say(f"{report.bad:,} bad {'line' if report.bad == 1 else 'lines'} left out", "yellow")
        return
    raise DataError(f"{report.bad:,} {'line is' if report.bad == 1 else 'lines are'} bad{nothing}", f"{then} --skip-bad")


# ---------------------------------------------------------------- views


def forms_view(forms: list[dict[str, Any]]) -> Iterator["RenderableType"]:
    """Each form with the keys that tell it, what it becomes, and examples."""
    for form in forms:
        yield f"{form['form']}: {form['keys']}"
        yield f"  {form['becomes']}"
        for example in form["examples"]:
            yield f"  {json.dumps(example, ensure_ascii=False)}"


def report_view(state: State, report: "Report") -> Iterator["RenderableType"]:
    """Files, then what is known of all of them, then the bad lines."""
    yield table(
        ("file", "size", "examples", "bad", "format"),
        [
            (file.name, size(file.size), f"{file.examples:,}", f"{file.bad:,}" if file.bad else "", ", ".join(file.formats))
            for file in report.files
        ],
        right=("size", "examples", "bad"),
    )
    yield ""
    if report.examples or report.skipped:
        facts = table(("", ""), facts_of(report))
        facts.show_header = False  # type: ignore[union-attr]
        yield facts
    limit = None if state.ui.verbosity else SHOWN_PROBLEMS
    if report.problems:
        yield ""
    for problem in report.problems[:limit]:
        yield f"{problem.place}: {problem.reason}"
    unseen = report.bad - len(report.problems[:limit])
    if unseen:
        yield f"and {unseen:,} more bad lines" + ("" if state.ui.verbosity else ", shown with -v")


def facts_of(report: "Report") -> Iterator[tuple[str, str]]:
    """What there is to know before anything is paid for."""
    tools = f", {report.with_tools:,} with tools" if report.with_tools else ""
    forms = ": " + ", ".join(f"{count:,} {form}" for form, count in report.formats.items()) if len(report.formats) > 1 else ""
    yield "examples", f"{report.examples:,}{forms}{tools}"
    how = f"counted with {report.tokenizer}" if report.tokenizer else "estimated at 4 bytes a token"
    yield "tokens", f"{report.tokens:,} ({how})"
    yield "trained", f"{report.trained_tokens:,} of them carry loss ({report.trained_share:.0%})"
    yield (
        "length",
        f"median {report.median_tokens:,}, 95 % up to {report.p95_tokens:,}, longest {report.longest_tokens:,} ({report.longest})",
    )
    if report.max_length is not None:
        yield "too long", _places(report.over_length, report.over_places, f"over {report.max_length:,} tokens")
    if report.duplicates:
        yield "duplicates", _places(report.duplicates, report.duplicate_places)
    if report.empty_answers:
        yield "empty answers", _places(report.empty_answers, report.empty_places)
    if report.cut:
        yield "cut off", f"{report.cut:,} answers end at the limit of their length, and are learned without an end of turn"
    from llmlab.dataset.reasons import REPEATED

    for what, count in report.skipped.items():
        more = f", {report.answers_added:,} of their answers carry loss where they are held" if what == REPEATED else ""
        places = _skipped_places(report, what)
        yield "left out", f"{_places(count, places, what)}{more}"
    if report.unread:
        names = [f"{name} ({rows:,})" for name, rows in report.unread.items()]
        more = ", …" if len(names) > SHOWN_NAMES else ""
        yield "not read", f"keys that llmlab does not know, and their rows: {', '.join(names[:SHOWN_NAMES])}{more}"
    if report.blank:
        yield "blank lines", f"{report.blank:,}, passed over"
    mixed_files = [file.name for file in report.files if len(file.formats) > 1]
    if mixed_files:
        yield "mixed", f"more than one format in {', '.join(mixed_files[:SHOWN_PLACES])}"
    for split, words in (("valid", "held out for evaluation, and not trained on"), ("test", "never trained on")):
        if report.splits.get(split):
            names = [file.name for file in report.files if file.split == split]
            yield (
                split,
                f"{report.splits[split]:,} examples {words}: {', '.join(names[:SHOWN_PLACES])}{', …' if len(names) > SHOWN_PLACES else ''}",
            )
    yield from _passed(report)


def _passed(report: "Report") -> Iterator[tuple[str, str]]:
    """Each file or folder that is none of the dataset, with its reason; those of one reason together."""
    reasons: dict[str, list[str]] = {}
    for one in report.passed:
        reasons.setdefault(one.reason, []).append(one.name)
    for reason, names in reasons.items():
        more = ", …" if len(names) > SHOWN_PLACES else ""
        yield "passed over", f"{', '.join(names[:SHOWN_PLACES])}{more} ({reason})"


def _skipped_places(report: "Report", what: str) -> tuple[str, ...]:
    return tuple(problem.place for problem in report.skipped_places if problem.reason.endswith(f"({what})"))


def _places(count: int, places: tuple[str, ...], what: str = "") -> str:
    more = ", …" if count > SHOWN_PLACES else ""
    shown = f" ({', '.join(places[:SHOWN_PLACES])}{more})" if places else ""
    return f"{count:,}{' ' + what if what else ''}{shown}"


def upload_view(done: "Uploaded") -> Iterator["RenderableType"]:
    """Where it lies, and what was done."""
    yield f"{done.address}: {done.files:,} {'file' if done.files == 1 else 'files'}, {size(done.size)}"
    unchanged = f", {done.unchanged:,} unchanged" if done.unchanged else ""
    removed = f", {len(done.removed):,} removed" if done.removed else ""
    yield f"sent {len(done.sent):,} ({size(done.sent_size)}){unchanged}{removed}"


def fetch_view(done: "Fetched") -> Iterator["RenderableType"]:
    """What came, what was there, what has to be waited for."""
    here = len(done.files) - len(done.fetched)
    yield f"{done.folder}: {len(done.files):,} files, {size(done.size)}, {done.checked:,} checked by SHA-256"
    yield f"fetched {len(done.fetched):,} ({size(done.fetched_size)})" + (f", {here:,} were here" if here else "")
    if done.adapter:
        yield f"adapter: {done.adapter}"
    if not done.over:
        yield f"run {done.run} is not over: this is what there is so far"
    if done.left:
        yield f"left in the bucket: {', '.join(f'{size(left)} of {part}' for part, left in done.left.items())}"
        yield f"next: llmlab fetch {done.run} --only {','.join(done.left)}"
    for key in done.skipped:
        yield f"left out, because it leads out of {done.folder}: {key}"
    for why in done.unreadable:
        yield f"not checked against its SHA-256s: {why}"
    for wait in done.archived:
        yield f"archived: {len(wait.keys):,} files, {size(wait.size)} in {wait.storage}; their restore takes {wait.takes}"
