"""`llmlab bootstrap --print-operator-policy`."""

import json

from llmlab.commands.state import State


def show(state: State) -> None:
    """The policies as one JSON document; what to do with them beside it."""
    from llmlab.ops import operator_policy

    printed = operator_policy.of(state.settings, lambda: state.aws)
    state.ui.line(json.dumps(printed.policies, indent=1))
    state.ui.answered = True
    if printed.placeholders:
        state.ui.say(f"{' and '.join(printed.placeholders)} to be filled in: without credentials nobody knows the account")
    state.ui.say(
        f"{len(printed.policies)} policies, for somebody who may make some: the operator's, to be attached to whoever runs llmlab;"
    )
    state.ui.say("and the boundary of the lab's roles, which the next bootstrap makes them within:")
    state.ui.say(f"llmlab bootstrap --permissions-boundary {printed.boundary}")
