"""`doctor --gpu`: an ordinary launch of a tiny training run that tests a GPU."""

from llmlab.commands import launch, run_screens
from llmlab.commands.context import CliContext
from llmlab.errors import UsageError

ANSWER = (
    "its log says what the trainer found: GPU, number format, attention and packing, then a loss that must fall; and status says succeeded"
)


def check_gpu(cli: CliContext, instance_type: str, *, yes: bool, both: bool) -> None:
    """Upload the tiny model and its examples, show the price, ask, launch, and say where the result will be."""
    from llmlab.ops import gpu_check

    if both:
        raise UsageError("--gpu and --request-quota are two things", f"llmlab doctor --gpu {instance_type}", without=["--request-quota"])
    with gpu_check.hints(instance_type):
        sent = gpu_check.put(cli.aws, cli.clock)
        if sent:
            cli.ui.say(f"uploaded the check's own model and examples, {sent / 1e6:.1f} MB, which stay in the lab for the next one")
        wish = gpu_check.wish(instance_type, cli.ui.again())
        facts = launch.start(cli, wish, "the check of a GPU", wait_minutes=0, yes=yes)
    cli.ui.show(facts, lambda: run_screens.pairs(list(run_screens.launched(facts))))
    cli.ui.say(ANSWER)
    cli.ui.suggest(f"llmlab logs {facts.run} -f")
