"""A run as one page: report."""

import typer


def register(app: typer.Typer) -> None:
    """Add this module's commands, in the order the help shows them."""
