"""The whole table against a sandbox: demo."""

import typer


def register(app: typer.Typer) -> None:
    """Add this module's commands, in the order the help shows them."""
