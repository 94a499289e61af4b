"""All rows of the refusals table, by service, in the order in which they are evaluated."""

from collections.abc import Callable

from llmlab.sandbox.refusals import (
    account,
    budgets,
    cloudwatch,
    cost_explorer,
    ec2_end,
    ec2_fleet,
    ec2_launch,
    ec2_market,
    ec2_network,
    ecr,
    iam,
    imds,
    lambda_,
    s3,
    scheduler,
    secrets,
    shapes,
    sns,
    ssm,
)
from llmlab.sandbox.refusals.rule import Call, Rule

MODULES = (
    account, shapes, ec2_launch, ec2_fleet, ec2_end, ec2_market, ec2_network, s3,
     iam, imds, lambda_, sns, scheduler, budgets, cloudwatch, cost_explorer, secrets, ecr, ssm,
)  # fmt: skip
ROWS: tuple[Rule, ...] = tuple(rule for module in MODULES for rule in module.ROWS)
BY_NAME = {rule.name: rule for rule in ROWS}
LAUNCH_RULES = tuple(rule for rule in ROWS if rule.each_launch)
NOTED: dict[str, Callable[[Call], None]] = {name: note for module in MODULES for name, note in getattr(module, "NOTED", {}).items()}
"""Operation → function that records its event after the call, for temporary rules."""
