"""The output of `llmlab bootstrap --print-operator-policy`."""

import json

from llmlab.commands.context import CliContext


def show(cli: CliContext) -> None:
    """Print the policies as one JSON document, and on stderr how to use them."""
    from llmlab.ops import operator_policy

    printed = operator_policy.of(cli.settings, lambda: cli.aws)
    cli.ui.line(json.dumps(printed.policies, indent=1))
    cli.ui.answered = True
    if printed.placeholders:
        cli.ui.say(f"{' and '.join(printed.placeholders)} to be filled in: without credentials nobody knows the account")
    cli.ui.say(f"{len(printed.policies)} policies, for somebody who may make some: the operator's, to be attached to whoever runs llmlab;")
    cli.ui.say("and the boundary of the lab's roles, which the next bootstrap makes them within:")
    cli.ui.say(f"llmlab bootstrap --permissions-boundary {printed.boundary}")
