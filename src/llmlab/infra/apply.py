"""Make a plan come true, in parallel. A crash anywhere is repaired by planning and applying again."""

from collections.abc import Callable

from llmlab.infra.order import in_order
from llmlab.infra.plan import Action, Plan, Step, step_for
from llmlab.infra.resource import Exists, Resource


def apply(plan: Plan, progress: Callable[[Step], None] = lambda _: None) -> None:
    """Create and update what the plan names. `progress` is called after each step that changed something, from any thread."""
    steps = {step.resource.key: step for step in plan.steps}

    def work(resource: Resource) -> None:
        step = steps[resource.key]
        if step.action is Action.CREATE:
            _create(resource)
        elif step.action is Action.UPDATE:
            resource.update(step.differs)
        else:
            return
        progress(step)

    in_order([step.resource for step in plan.steps], work)


def _create(resource: Resource) -> None:
    """Make the least that exists, then set what still differs: the same path that repairs a crash in between."""
    try:
        resource.create()
    except Exists:
        step = step_for(resource)  # made by somebody since the plan: plan again, once
        if step.action is Action.CREATE:
            raise
        differs = step.differs
    else:
        now = resource.read() or {}
        differs = {name: value for name, value in resource.desired().items() if now.get(name) != value}
    if differs:
        resource.update(differs)
