"""Make a plan come true, in parallel; last, when all else stands, what is not wanted goes.

A crash anywhere is repaired by planning and applying again.
"""

from collections.abc import Callable

from llmlab.errors import LabError
from llmlab.infra.destroy import destroy
from llmlab.infra.order import in_order
from llmlab.infra.plan import Action, Plan, Step, step_for
from llmlab.infra.resource import Exists, Properties, Resource


def apply(plan: Plan, progress: Callable[[Step], None] = lambda _: None) -> None:
    """Create, update and delete what the plan names. `progress` is called after each step that changed something, from any thread."""
    steps = {step.resource.key: step for step in plan.steps}

    def work(resource: Resource) -> None:
        step = steps[resource.key]
        if step.action is Action.CREATE:
            _create(resource)
        elif step.action is Action.UPDATE:
            _update(resource, step.differs)
        else:
            return
        progress(step)

    in_order([step.resource for step in plan.steps], work)
    removals = {step.resource.key: step for step in plan.removals}
    destroy([step.resource for step in plan.removals], everything=True, progress=lambda removal: progress(removals[removal.resource.key]))


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
        _update(resource, differs)


def _update(resource: Resource, differs: Properties) -> None:
    """Set what differs. What is as desired after an error was set by a try whose answer was lost, or by somebody who was quicker.

    Raises:
        LabError: the error, when it set nothing, or what is left failed too.
    """
    for last in (False, True):
        try:
            resource.update(differs)
        except LabError:
            left = step_for(resource).differs
            if left and (last or left == differs):
                raise
            if not left:
                return
            differs = left
        else:
            return
