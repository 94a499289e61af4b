"""The training image and the agent's with the local Docker: image build, image push."""

from pathlib import Path
from typing import Annotated

import typer

from llmlab import __version__
from llmlab.commands.context import CliContext
from llmlab.contract import Names

Tag = Annotated[str, typer.Option(help="Tag of the image; latest is set besides.")]
Extra = Annotated[list[str] | None, typer.Argument(metavar="DOCKER_OPTION", help="After --: handed to docker build as it is.")]
Context = Annotated[Path | None, typer.Option("--context", help="A clone of llmlab to build.", show_default="this llmlab")]


def register(app: typer.Typer) -> None:
    """Add this module's commands, in the order the help shows them."""
    image = typer.Typer(help="The training image with the local Docker, for those who do not use GitHub Actions.", no_args_is_help=True)
    image.command()(build)
    image.command()(push)
    app.add_typer(image, name="image")


def build(ctx: typer.Context, tag: Tag = __version__, context: Context = None, extra: Extra = None) -> None:
    """Build the training image. Another base: llmlab image build -- --build-arg BASE_IMAGE=NAME@sha256:DIGEST."""
    from llmlab.ops import image

    cli: CliContext = ctx.obj
    repository, agent = Names(cli.settings.lab, "", "").repositories
    facts = image.build(repository, tags(tag), cli.ui.say, now=cli.clock.now(), folder=context, extra=extra or (), agent=agent)
    cli.ui.show(facts, lambda: "\n".join((*facts.agent, *facts.references)))


def push(ctx: typer.Context, tag: Tag = __version__, context: Context = None, extra: Extra = None) -> None:
    """Build the training image and push it to the lab's repository."""
    from llmlab.ops import image

    cli: CliContext = ctx.obj
    facts = image.push(cli.aws, tags(tag), cli.ui.say, now=cli.clock.now(), folder=context, extra=extra or ())
    cli.ui.show(facts, lambda: "\n".join((*facts.agent, *facts.references, facts.digest)))


def tags(tag: str) -> tuple[str, ...]:
    """The tags to set: the given one, and `latest`."""
    return tuple(dict.fromkeys((tag, "latest")))
