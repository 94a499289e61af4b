"""The commands on a trained model: try, merge."""

from collections.abc import Iterator
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from llmlab.commands import completing
from llmlab.commands.context import CliContext
from llmlab.commands.data import OUTPUTS
from llmlab.commands.formatting import size

if TYPE_CHECKING:
    from rich.console import RenderableType

    from llmlab.ops.merge import MergeResult
    from llmlab.ops.try_model import ModelAnswers

RunArgument = Annotated[
    str,
    typer.Argument(
        help="A run's id, a part of it, its name, or latest.", metavar="RUN", show_default=False, autocompletion=completing.runs
    ),
]
BaseOption = Annotated[
    str, typer.Option(help="The base model's folder, instead of fetching or downloading it.", metavar="FOLDER", show_default=False)
]
OutputsOption = Annotated[Path, typer.Option("--outputs", help="The folder of fetched runs and models.", metavar="FOLDER")]


def register(app: typer.Typer) -> None:
    """Add this module's commands, in the order the help shows them."""
    app.command("try")(ask)
    app.command()(merge)


def ask(
    ctx: typer.Context,
    run: RunArgument,
    prompt: Annotated[str, typer.Argument(help="What a user would say.", metavar="PROMPT", show_default=False)],
    max_tokens: Annotated[int, typer.Option(help="Tokens of each answer at most.", min=1, max=4096)] = 128,
    base: BaseOption = "",
    outputs: OutputsOption = OUTPUTS,
) -> None:
    """What the base model and the tuned one say to one prompt, on this machine; without a GPU up to 3 billion parameters."""
    from llmlab.ops.try_model import ask as both

    cli: CliContext = ctx.obj
    with cli.ui.bar("fetching", "bytes") as progress:
        answers = both(cli.aws, run, prompt, outputs, max_tokens, base, progress)
    cli.ui.show(answers, lambda: answers_view(answers))


def merge(
    ctx: typer.Context,
    run: RunArgument,
    output: Annotated[
        Path | None, typer.Option(help="The folder to write; must not exist yet.", metavar="FOLDER", show_default="outputs/RUN/merged")
    ] = None,
    base: BaseOption = "",
    outputs: OutputsOption = OUTPUTS,
) -> None:
    """Base model and adapter as one model in safetensors, compared with the two side by side."""
    from llmlab.ops.merge import merge as make

    cli: CliContext = ctx.obj
    with cli.ui.bar("fetching", "bytes") as progress:
        merged = make(cli.aws, run, outputs, output, base, progress)
    cli.ui.show(merged, lambda: merged_view(merged))
    cli.ui.suggest(f"vllm serve {quote(str(merged.folder))}")


def answers_view(answers: "ModelAnswers") -> "RenderableType":
    """The screen of `try`: the prompt and both models' answers."""
    from llmlab.commands.run_screens import pairs

    return pairs([("prompt", answers.prompt), ("base model", answers.base or "(nothing)"), ("tuned model", answers.tuned or "(nothing)")])


def merged_view(merged: "MergeResult") -> Iterator["RenderableType"]:
    """The screen of `merge`: the merged model's folder and its accuracy."""
    share = merged.difference / merged.logit if merged.logit else 0.0
    known = "its weights are those the adapter was trained on" if merged.checked else "whether the adapter was trained on it is not known"
    yield f"{merged.folder}: {merged.files:,} files, {size(merged.size)}, {merged.dtype}"
    yield f"base model: {merged.base}; {known}"
    yield (
        f"logits differ from base and adapter by at most {merged.difference:.2g} ({share:.1e} of the largest), "
        f"and {merged.same_words:.0%} of a prompt's positions go on with the same token"
    )
    if not merged.own_tokenizer:
        yield "warning: the tokenizer is in the form of transformers 5, because the base's files do not open as the adapter's do"
