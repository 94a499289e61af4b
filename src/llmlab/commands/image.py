"""The training image with the local Docker: image build, image push."""

import typer


def register(app: typer.Typer) -> None:
    """Add this module's commands, in the order the help shows them."""
