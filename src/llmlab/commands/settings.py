"""The commands for the user's project and settings: init, config, secret."""

import getpass
from pathlib import Path
from typing import Annotated

import typer

from llmlab.commands.context import CliContext
from llmlab.ui import table


def register(app: typer.Typer) -> None:
    """Add this module's commands, in the order the help shows them."""
    app.command()(init)
    app.command()(config)
    secret = typer.Typer(
        help="The token of Hugging Face and the address that notices are posted to, kept in Secrets Manager.", no_args_is_help=True
    )
    secret.command("set")(secret_set)
    secret.command("list")(secret_list)
    secret.command("remove")(secret_remove)
    app.add_typer(secret, name="secret")


def init(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(help="The project's folder.", show_default="here")] = Path(),
    lab: Annotated[str | None, typer.Option(help="Name of the lab.")] = None,
    email: Annotated[str | None, typer.Option(help="Where alerts and the budget write to.")] = None,
    github: Annotated[str | None, typer.Option(help="OWNER/REPOSITORY; the git remote otherwise.")] = None,
    budget: Annotated[float | None, typer.Option(help="Monthly budget in US dollars.")] = None,
) -> None:
    """Write llmlab.toml, recipe.yaml and the GitHub workflow into a project; never overwrites."""
    from llmlab.config import load
    from llmlab.ops.init import init as write

    cli: CliContext = ctx.obj
    options = {"lab": lab, "email": email, "github": github, "budget": budget, "region": cli.flags.get("region")}
    values = {key: value for key, value in options.items() if value is not None}
    flags = cli.flags | {key: str(value) for key, value in values.items()}
    facts = write(folder, values, load(flags, cli.environment, cli.file).settings)

    def view() -> list[str]:
        return [f"{path}: written" for path in facts.written] + [f"{path}: kept as it is" for path in facts.kept]

    cli.ui.show(facts, view)
    cli.ui.suggest("llmlab bootstrap --plan")


def config(ctx: typer.Context) -> None:
    """Show each setting, its value and where it came from."""
    cli: CliContext = ctx.obj
    loaded = cli.loaded
    rows = {key: {"value": value, "from": loaded.origins[key]} for key, value in loaded.settings.model_dump(mode="json").items()}

    def words(value: object) -> str:
        return ", ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)

    cli.ui.show(rows, lambda: table(("setting", "value", "from"), [(key, words(row["value"]), row["from"]) for key, row in rows.items()]))


def secret_set(ctx: typer.Context, name: Annotated[str, typer.Argument(help="hf-token or webhook-url.")]) -> None:
    """Store a secret, read from standard input: llmlab secret set hf-token < token.txt."""
    from llmlab.ops.secrets import check_name, set_secret

    cli: CliContext = ctx.obj
    check_name(name)
    on_terminal = cli.ui.stdin.isatty()
    value = getpass.getpass(f"{name}, not shown: ", stream=cli.ui.stderr) if on_terminal else cli.ui.stdin.read()
    facts = set_secret(cli.aws, name, value, cli.clock, cli.ui.say)
    cli.ui.show(facts, lambda: f"{facts.name}: set")


def secret_list(ctx: typer.Context) -> None:
    """List the names of the secrets, never their values."""
    from llmlab.aws.secrets import find

    cli: CliContext = ctx.obj
    secrets = find(cli.aws)
    cli.ui.show(
        secrets, lambda: table(("secret", "changed"), [(secret.name, secret.changed) for secret in secrets]) if secrets else "no secrets"
    )


def secret_remove(ctx: typer.Context, name: Annotated[str, typer.Argument(help="The name it was set under.")]) -> None:
    """Delete a secret at once."""
    from llmlab.ops.secrets import remove_secret

    cli: CliContext = ctx.obj
    remove_secret(cli.aws, name)
    cli.ui.show({"removed": name}, lambda: f"{name}: removed")
