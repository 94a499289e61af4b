"""The commands that estimate and start a run: estimate, launch."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmlab.commands import completing
from llmlab.commands.context import CliContext
from llmlab.commands.runs import follow
from llmlab.errors import LabError, UsageError
from llmlab.ui import Hanging

if TYPE_CHECKING:
    from llmlab.aws.session import Aws
    from llmlab.ops.compare import Estimate
    from llmlab.ops.launch import Launch
    from llmlab.ops.preflight import Wish
    from llmlab.recipe import Recipe

RECIPE = "recipe.yaml"

RecipeOption = Annotated[
    str,
    typer.Option(
        help="A file or a shipped recipe.",
        metavar="FILE",
        show_default="recipe.yaml, else lora-1b",
        autocompletion=completing.recipes,
    ),
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="A field of the recipe, as lora.rank=8; repeatable.", metavar="FIELD=VALUE")
]
DataOption = Annotated[
    str, typer.Option(help="The dataset's name.", metavar="NAME", show_default="the only one", autocompletion=completing.datasets)
]
TypesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--instance-type",
        help="Types, best first.",
        metavar="TYPE",
        show_default="the cheapest",
        autocompletion=completing.types,
    ),
]


def register(app: typer.Typer) -> None:
    """Add this module's commands, in the order the help shows them."""
    for command in (estimate, launch):
        app.command()(command)


def estimate(
    ctx: typer.Context,
    recipe: RecipeOption = "",
    settings: SetOption = None,
    data: DataOption = "",
    instance_type: TypesOption = None,
    spot: Annotated[bool | None, typer.Option("--spot/--on-demand", help="One market alone.", show_default="both")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every type in every market, not only the best and the nearest rejected.")] = False,
) -> None:
    """VRAM, hours and dollars of a recipe on each instance type, spot and on-demand, and why a type is rejected.

    Without credentials: by dated list prices, and --data is a folder of this machine.
    """
    from llmlab.commands import choice_screens
    from llmlab.ops.runs import first_step

    cli: CliContext = ctx.obj
    _, wanted = read_recipe(recipe, settings)
    types = split(instance_type)
    account, why = cli.account()
    if why:
        facts = estimate_without(cli, wanted, data, types, (False,) if spot is None else (spot,), why)
    elif account:
        facts = estimate_with(cli, account, wanted, data, types, spot)
    cli.ui.show(facts, lambda: choice_screens.estimate(facts, every=every or bool(types), more=cli.ui.again("--all")))
    options = {"--recipe": recipe, "--data": data, "--instance-type": ",".join(types)}
    words = [word for option, value in options.items() if value for word in (option, value)]
    words += [f"--set={setting}" for setting in settings or ()]
    market = [] if spot is None else ["--spot" if spot else "--on-demand"]
    if why:
        cli.ui.suggest("llmlab doctor")
    elif account:
        first = "llmlab launch" if facts.data or facts.hint else first_step(account)
        cli.ui.suggest(facts.hint or choice_screens.next_step(facts, first, words, market))


def estimate_with(cli: CliContext, aws: "Aws", recipe: "Recipe", data: str, types: tuple[str, ...], spot: bool | None) -> "Estimate":
    """Estimate with the prices, quotas and dataset of the account."""
    from llmlab.ops import model_size, uploaded
    from llmlab.ops.compare import compare
    from llmlab.ops.market_snapshot import BOTH

    size = model_size.of(aws, recipe.model, recipe.lab_model)
    manifest = uploaded.dataset_if_any(aws, data)
    lacking = None if size else uploaded.lacking(aws, recipe.lab_model)
    markets = BOTH if spot is None else (spot,)
    return compare(aws, cli.settings, recipe, size, manifest, cli.clock.now(), names=types, markets=markets, lacking=lacking)


def estimate_without(
    cli: CliContext, recipe: "Recipe", data: str, types: tuple[str, ...], markets: tuple[bool, ...], why: LabError
) -> "Estimate":
    """Estimate without an account: by list prices, with a local folder or file as the dataset."""
    from llmlab.ops import model_size
    from llmlab.ops.compare import by_list_prices
    from llmlab.ops.validate import as_manifest

    if data and not Path(data).exists():
        raise LabError(f"dataset {data} is in the account, and {why.message}", why.hint, why.exit_code)
    manifest = as_manifest(Path(data), recipe.objective) if data else None
    size = model_size.from_name(recipe.model) if recipe.lab_model is None else None
    return by_list_prices(cli.settings, recipe, size, manifest, why.message, names=types, markets=markets)


def launch(
    ctx: typer.Context,
    recipe: RecipeOption = "",
    settings: SetOption = None,
    data: DataOption = "",
    instance_type: TypesOption = None,
    spot: Annotated[bool, typer.Option("--spot/--on-demand", help="Spot costs a third, and may be interrupted.")] = False,
    fallback_on_demand: Annotated[bool, typer.Option("--fallback-on-demand", help="Take on-demand where no spot is to be had.")] = False,
    fallback_after: Annotated[int, typer.Option(metavar="COUNT", help="The same after interruptions.")] = 3,
    fallback_minutes: Annotated[float, typer.Option(metavar="MINUTES", help="The same, so long without spot.")] = 15,
    wait_for_capacity: Annotated[float, typer.Option(metavar="MINUTES", help="Go on asking so long.", min=0, max=10_080)] = 0,
    max_hours: Annotated[
        float | None,
        typer.Option(metavar="HOURS", help="The most, in all.", show_default="llmlab.toml's"),
    ] = None,
    max_cost: Annotated[float | None, typer.Option(metavar="DOLLARS", help="The most it may cost, in US dollars.")] = None,
    no_auto_shutdown: Annotated[bool, typer.Option("--no-auto-shutdown", help="Keep the instance until the deadline.")] = False,
    idle_minutes: Annotated[float, typer.Option(metavar="MINUTES", help="End when GPUs idle so long; 0: never.")] = 20,
    run_name: Annotated[
        str | None,
        typer.Option("--name", help="What to call it; it stands for the run in every command.", metavar="NAME", show_default=False),
    ] = None,
    no_resume: Annotated[bool, typer.Option("--no-resume", help="Do not start it again after an interruption.")] = False,
    wait_hours: Annotated[float, typer.Option(metavar="HOURS", help="Its wait after an interruption.")] = 24,
    image: Annotated[str, typer.Option(help="Tag of the training image.", metavar="TAG", show_default="the newest")] = "",
    wait: Annotated[bool, typer.Option("--wait", help="Follow it to its end; the exit code tells how it ended.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything and show what would start.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Start a run: checks, prices and quotas first, a question, then one instance. The laptop may be closed afterwards."""
    from llmlab.commands import choice_screens, run_screens
    from llmlab.ops.hub import Hub
    from llmlab.ops.preflight import Wish, check

    cli: CliContext = ctx.obj
    name, wanted = read_recipe(recipe, settings)
    wish = Wish(
        recipe=wanted,
        data=data,
        instance_types=split(instance_type),
        spot=spot,
        fallback_on_demand=fallback_on_demand,
        max_hours=cli.settings.max_hours if max_hours is None else max_hours,
        max_cost=max_cost,
        auto_shutdown=not no_auto_shutdown,
        resume=not no_resume,
        image=image,
        fallback_interruptions=fallback_after,
        fallback_minutes=fallback_minutes,
        wait_hours=wait_hours,
        idle_minutes=idle_minutes,
        command=cli.ui.again(),
        name=run_name,
    )
    if dry_run:
        plan = check(cli.aws, cli.settings, wish, cli.clock.now(), Hub(cli.environment))
        cli.ui.show(plan, lambda: run_screens.pairs(list(choice_screens.plan(plan, name))))
        return
    facts = start(cli, wish, name, wait_minutes=wait_for_capacity, yes=yes)
    if not wait:
        cli.ui.show(facts, lambda: run_screens.pairs(list(run_screens.launched(facts))))
        cli.ui.suggest(f"llmlab logs {facts.run} -f")
        return
    for title, words in run_screens.launched(facts):
        cli.ui.tell(Hanging(f"{title:<9} ", words))
    follow(cli, facts.run)


def start(cli: CliContext, wish: "Wish", name: str, *, wait_minutes: float, yes: bool) -> "Launch":
    """Check everything, show the plan and its cost, ask, and start the run. `name` is the recipe's name for the plan."""
    from llmlab.commands import choice_screens
    from llmlab.ops.hub import Hub
    from llmlab.ops.launch import launch as start_run
    from llmlab.ops.preflight import check

    plan = check(cli.aws, cli.settings, wish, cli.clock.now(), Hub(cli.environment))
    for title, words in choice_screens.plan(plan, name):
        cli.ui.tell(Hanging(f"{title:<9} ", words))
    cli.ui.confirm(choice_screens.question(plan), yes=yes)
    return start_run(cli.aws, plan, cli.clock, cli.ui.say, wait_minutes=wait_minutes)


def read_recipe(name: str, settings: Sequence[str] | None) -> tuple[str, "Recipe"]:
    """Load the recipe, returned with its name: the named one, `recipe.yaml` of this folder, or the shipped default."""
    from llmlab.recipe import DEFAULT, load

    overrides: dict[str, str] = {}
    for setting in settings or ():
        field, equals, value = setting.partition("=")
        if not equals or not field:
            raise UsageError(f"--set takes FIELD=VALUE, not {setting}", "llmlab launch --set lora.rank=8", without=[field])
        overrides[field] = value
    chosen = name or (RECIPE if Path(RECIPE).is_file() else DEFAULT)
    return chosen, load(chosen, overrides)


def split(types: Sequence[str] | None) -> tuple[str, ...]:
    """Split instance types at commas, each once, from a repeatable option."""
    return tuple(dict.fromkeys(name.strip() for text in types or () for name in text.split(",") if name.strip()))
