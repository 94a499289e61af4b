"""The user's own project and settings: init, config, secret."""

import typer


def register(app: typer.Typer) -> None:
    """Add this module's commands, in the order the help shows them."""
