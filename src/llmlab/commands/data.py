"""Data: validate, upload and fetch."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from llmlab.commands import completing
from llmlab.commands.context import CliContext
from llmlab.commands.data_screens import document_of, fetch_view, forms_view, refused_words, report_view, upload_view
from llmlab.errors import DataError, ExitCode, UsageError

if TYPE_CHECKING:
    from llmlab.dataset.report import DatasetReport
    from llmlab.dataset.trial import Trial
    from llmlab.ops.reward_trial import RewardsTried
    from llmlab.recipe import Recipe

OUTPUTS = Path("outputs")

KINDS = "A .jsonl, .ndjson, .json, .csv, .parquet or .arrow file, perhaps packed, or a folder of them."
PARTS = "Of adapter, checkpoints, logs, report; several with commas."

DataPath = Annotated[Path, typer.Argument(help=KINDS, show_default=False)]
MaxLength = Annotated[
    int | None, typer.Option(help="Count the examples longer than this many tokens.", min=1, show_default="of recipe.yaml if there is one")
]
Tokenizer = Annotated[
    Path | None,
    typer.Option(help="Model folder, or tokenizer.json, to try the template and count tokens with.", show_default="the recipe's"),
]
RecipeFile = Annotated[
    str,
    typer.Option("--recipe", help="The recipe to compare the data with.", metavar="FILE", show_default="recipe.yaml if there is one"),
]


Objective = Annotated[
    Literal["sft", "dpo", "kto"] | None,
    typer.Option(help="What the data are for; rows with a label are for kto alone.", show_default="what their form says"),
]


def register(app: typer.Typer) -> None:
    """Add this module's commands, in the order the help shows them."""
    app.command()(validate)
    app.command()(upload)
    app.command()(fetch)


def _show_forms(ctx: typer.Context, wanted: bool) -> None:
    """Print the forms that a row of a dataset may have, and exit."""
    if not wanted:
        return
    from llmlab.dataset.forms import shown

    cli: CliContext = ctx.obj
    forms = [
        {"form": name, "keys": keys, "becomes": becomes, "examples": examples, "described": sources}
        for name, keys, becomes, examples, sources in shown()
    ]
    cli.ui.show(forms, lambda: forms_view(forms))
    raise typer.Exit


RewardOption = Annotated[
    Path | None,
    typer.Option("--reward", help="A Python file with one function that rewards completions, to try on the rows.", metavar="FILE"),
]
Forms = Annotated[
    bool, typer.Option("--forms", help="Print every form a row may have, with an example.", is_eager=True, callback=_show_forms)
]


def validate(
    ctx: typer.Context,
    path: DataPath,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Bad lines are counted, and no reason to fail.")] = False,
    max_length: MaxLength = None,
    tokenizer: Tokenizer = None,
    recipe: RecipeFile = "",
    objective: Objective = None,
    reward: RewardOption = None,
    forms: Forms = False,  # noqa: ARG001 - handled by its callback
) -> None:
    """Check every line of a dataset: format, counts, token lengths, and what is wrong with which line."""
    cli: CliContext = ctx.obj
    wanted = _recipe_at_hand(cli, recipe)
    report, trial = _checked(cli, path, max_length, tokenizer, wanted)
    again = shlex.join(["llmlab", "validate", str(path), *(["--reward", str(reward)] if reward else [])])
    rewards = _rewards_tried(cli, path, report, reward, wanted, again)
    good = not report.bad and not (trial and trial.refused)
    facts = {"ok": good, "trained_share": report.trained_share} | report.document | document_of(trial, rewards)
    cli.ui.show(facts, lambda: report_view(cli, report, trial, rewards))
    _fail_if_bad(cli, path, report, skip_bad=skip_bad, then=_again("validate", path, objective=objective), objective=objective)
    if trial and trial.refused and not skip_bad:
        raise DataError(refused_words(trial), f"{_again('validate', path, objective=objective)} --skip-bad")
    _other_objective(cli, wanted, report, path.resolve().name)


def upload(
    ctx: typer.Context,
    path: Annotated[Path, typer.Argument(help="A dataset's file or folder; with --model, a model folder.", show_default=False)],
    name: Annotated[str | None, typer.Option(help="What a launch calls the dataset.", show_default="the folder's name")] = None,
    model: Annotated[str | None, typer.Option(help="Upload a model folder under this name; a recipe says model: lab:NAME.")] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave bad lines out instead of stopping at them.")] = False,
    max_length: MaxLength = None,
    tokenizer: Tokenizer = None,
    recipe: RecipeFile = "",
    objective: Objective = None,
) -> None:
    """Check a dataset and upload what has changed of it; or a model folder, with --model."""
    from llmlab.ops import upload as ops, uploaded

    cli: CliContext = ctx.obj
    if model is not None:
        if name is not None or skip_bad:
            raise UsageError(
                "--model goes alone: a model has one name and no lines",
                shlex.join(["llmlab", "upload", str(path), "--model", model]),
                without=["--name", "--skip-bad"],
            )
        destination = ops.model_destination(cli.aws, path, model)
        with cli.ui.bar("uploading", "bytes") as progress:
            done = ops.upload_model(cli.aws, cli.clock, path, destination, progress)
        cli.ui.show(done, lambda: upload_view(done))
        cli.ui.suggest(f"llmlab estimate --set model=lab:{done.name}")
        return
    destination = ops.dataset_destination(cli.aws, path, name)
    wanted = _recipe_at_hand(cli, recipe)
    report, trial = _checked(cli, path, max_length, tokenizer, wanted)
    again = _again("upload", path, name=name, objective=objective)
    rewards = _rewards_tried(cli, path, report, None, wanted, again)
    if not cli.ui.as_json or (report.bad and not skip_bad):
        cli.ui.show(
            {"ok": not report.bad, "trained_share": report.trained_share} | report.document | document_of(trial, rewards),
            lambda: report_view(cli, report, trial, rewards),
        )
    _fail_if_bad(cli, path, report, skip_bad=skip_bad, then=again, nothing=", nothing was uploaded", objective=objective)
    with cli.ui.bar("uploading", "bytes") as progress:
        done = ops.upload_dataset(
            cli.aws, cli.clock, path, destination, report, progress, skip_bad=skip_bad, trial=trial, objective=objective
        )
    cli.ui.show(done, lambda: ["", *upload_view(done)])
    other = _other_objective(cli, wanted, report, done.name)
    if trial and trial.refused and not skip_bad:
        cli.ui.say(f"{refused_words(trial)}: mend them, or leave them out", "yellow")
        cli.ui.suggest(cli.ui.again("--skip-bad"))
        return
    named = recipe or (objective if objective in {"dpo", "kto"} and wanted is None else "")
    lacking = uploaded.lacking(cli.aws, wanted.lab_model) if wanted else None
    following = (other or f"llmlab launch --data {done.name}") + (f" --recipe {shlex.quote(named)}" if named else "")
    cli.ui.suggest(lacking.hint if lacking else following)


def fetch(
    ctx: typer.Context,
    run: Annotated[str, typer.Argument(help="A run's id, a part of it, its name, or latest.", autocompletion=completing.runs)] = "latest",
    only: Annotated[str | None, typer.Option(help=PARTS, show_default="all but checkpoints", autocompletion=completing.parts)] = None,
    output: Annotated[Path, typer.Option(help="The folder that gets a folder for the run.")] = OUTPUTS,
) -> None:
    """Download what a run has made into outputs/RUN, checked, and nothing twice."""
    from llmlab.ops import fetch as ops
    from llmlab.ops.runs import resolve

    cli: CliContext = ctx.obj
    parts = ops.parse_only(only)
    run_id = resolve(cli.aws, run)
    with cli.ui.bar("fetching", "bytes") as progress:
        done = ops.fetch(cli.aws, run_id, output, parts, progress)
    cli.ui.show(done, lambda: fetch_view(done))
    if done.adapter and not done.archived:
        cli.ui.suggest(f"llmlab try {done.run} 'a prompt of yours'")
    if done.archived:
        cli.ui.say(f"hint: {cli.ui.laid_over(f'llmlab fetch {run_id}')}")
        raise typer.Exit(int(ExitCode.FAILED))


# ---------------------------------------------------------------- what the commands share


def _checked(
    cli: CliContext, path: Path, max_length: int | None, tokenizer: Path | None, recipe: "Recipe | None"
) -> tuple["DatasetReport", "Trial | None"]:
    """Validate a dataset; with the model's chat template also render its rows, where the template is available."""
    import tempfile

    from llmlab.ops.at_hand import find
    from llmlab.ops.hub import Hub
    from llmlab.ops.validate import tried, validate as check

    most = max_length or (recipe.max_length if recipe else None)
    with tempfile.TemporaryDirectory(prefix="llmlab-") as folder:
        model = find(recipe, tokenizer, lambda: cli.aws, Hub(cli.environment), Path(folder))
        with cli.ui.bar("checking", "bytes") as progress:
            report = check(path, max_length=most, tokenizer=None if model.files else tokenizer, progress=progress)
        for note in model.notes:
            cli.ui.say(note, "yellow")
        if model.files is None:
            return report, None
        with cli.ui.bar("trying the chat template", "bytes") as progress:
            return tried(path, report, model, progress)


def _rewards_tried(
    cli: CliContext, path: Path, report: "DatasetReport", file: Path | None, recipe: "Recipe | None", again: str
) -> "RewardsTried | None":
    """Try the rewards of a file or of the recipe on the rows, None without any; `again` is the command to repeat."""
    from llmlab.rewards import files
    from llmlab.rewards.scoring import RewardLimits

    limits = RewardLimits()
    if file is not None:
        chosen = [files.read(str(file), file, files.OPTION).asked()]
    elif recipe is not None and recipe.objective == "grpo":
        chosen = [reward.asked() for reward in recipe.grpo.rewards]
        limits = RewardLimits(recipe.grpo.reward_seconds, recipe.grpo.reward_memory_gib)
    else:
        return None
    if not report.examples:
        return None
    from llmlab.ops.reward_trial import missing, try_rewards

    if lacking := missing(chosen):
        cli.ui.say(f"the rewards were not tried on the data: {lacking}", "yellow")
        return None

    with cli.ui.bar("trying the rewards", "rows") as progress:
        tried = try_rewards(path, chosen, limits, again, progress)
    if tried.lacks:
        cli.ui.say(f"nothing on this system keeps a reward from {' or '.join(tried.lacks)}", "yellow")
    if all(reward.alike == reward.rows for reward in tried.rewards):
        groups = tried.rewards[0].rows
        cli.ui.say(
            f"no reward tells an answer from an empty completion, in {groups:,} of {groups:,} groups of the two: "
            "of a group whose completions all get the same reward nothing is learned",
            "yellow",
        )
    return tried


def _recipe_at_hand(cli: CliContext, name: str) -> "Recipe | None":
    """The named recipe, or the one of this folder that a launch takes, None without one.

    An unreadable recipe of this folder gives a warning, and the data are checked all the same.
    """
    from llmlab.commands.launch import RECIPE
    from llmlab.ops.suited import recipe_at
    from llmlab.recipe import load

    if name:
        return load(name, {})
    recipe, why = recipe_at(Path(RECIPE))
    if why:
        cli.ui.say(f"data and recipe were not compared: {why}", "yellow")
    return recipe


def _other_objective(cli: CliContext, recipe: "Recipe | None", report: "DatasetReport", name: str) -> str:
    """Warn if the recipe does not suit the data; returns the launch command that does, "" if it suits."""
    from llmlab.ops.suited import unsuited

    error = unsuited(recipe, report.kinds, name) if recipe else None
    if error:
        cli.ui.say(f"with the recipe of this folder, {error}", "yellow")
    return error.hint if error and error.hint else ""


def _again(command: str, path: Path, **options: str | None) -> str:
    """Rebuild the typed command with its options, as the beginning of a hint."""
    return shlex.join(["llmlab", command, str(path), *(word for name, value in options.items() if value for word in (f"--{name}", value))])


def _fail_if_bad(
    cli: CliContext, path: Path, report: "DatasetReport", *, skip_bad: bool, then: str, nothing: str = "", objective: str | None = None
) -> None:
    from llmlab.ops.validate import refuse

    refuse(path, report, objective, then.partition(" --objective ")[0])
    if not report.bad:
        return
    if skip_bad:
        cli.ui.say(f"{report.bad:,} bad {'line' if report.bad == 1 else 'lines'} left out", "yellow")
        return
    raise DataError(f"{report.bad:,} {'line is' if report.bad == 1 else 'lines are'} bad{nothing}", f"{then} --skip-bad")
