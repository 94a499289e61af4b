"""EC2: what is refused of a fleet's or a template's own."""

from collections.abc import Mapping

from llmlab.sandbox.refusals.ec2_launch import API
from llmlab.sandbox.refusals.rule import Call, Rule


def _unknown_template(call: Call) -> Mapping[str, object] | bool:
    name = call.values.get("LaunchTemplateName")
    return bool(name) and name not in call.backend("ec2").launch_template_name_to_ids and {"name": name}


ROWS = (
    Rule(
        name="launch-template-unknown",
        operations=("ec2:DeleteLaunchTemplate",),
        when="there is no launch template of this name",
        code="InvalidLaunchTemplateName.NotFoundException",
        message="The specified launch template, with template name {name}, does not exist.",
        source=f"{API}errors-overview.html",
        applies=_unknown_template,
    ),
)
