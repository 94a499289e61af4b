"""`doctor --gpu`: an ordinary launch of what a GPU is tried by."""

from llmlab.commands import launch, run_screens
from llmlab.commands.state import State
from llmlab.errors import UsageError

ANSWER = (
    "its log says what the trainer found: GPU, number format, attention and packing, then a loss that must fall; and status says succeeded"
)


def check_gpu(state: State, instance_type: str, *, yes: bool, both: bool) -> None:
    """Upload the tiny model and its examples, show the price, ask, launch, and say where the answer will be."""
    from llmlab.ops import gpu_check

    if both:
        raise UsageError("--gpu and --request-quota are two things", f"llmlab doctor --gpu {instance_type}", without=["--request-quota"])
    with gpu_check.hints(instance_type):
        sent = gpu_check.put(state.aws, state.clock)
        if sent:
            state.ui.say(f"uploaded the check's own model and examples, {sent / 1e6:.1f} MB, which stay in the lab for the next one")
        wish = gpu_check.wish(instance_type, state.ui.again())
        facts = launch.start(state, wish, "the check of a GPU", wait_minutes=0, yes=yes)
    state.ui.show(facts, lambda: run_screens.pairs(list(run_screens.launched(facts))))
    state.ui.say(ANSWER)
    state.ui.suggest(f"llmlab logs {facts.run} -f")
