"""All rows, by service, in the order in which they are judged."""

from llmlab.sandbox.refusals import (
    account,
    budgets,
    cloudwatch,
    cost_explorer,
    ec2_fleet,
    ec2_launch,
    ec2_market,
    ec2_network,
    ecr,
    iam,
    lambda_,
    s3,
    scheduler,
    secrets,
    sns,
)
from llmlab.sandbox.refusals.rule import Rule

MODULES = (
    account, ec2_launch, ec2_fleet, ec2_market, ec2_network, s3,
     iam, lambda_, sns, scheduler, budgets, cloudwatch, cost_explorer, secrets, ecr,
)  # fmt: skip
ROWS: tuple[Rule, ...] = tuple(rule for module in MODULES for rule in module.ROWS)
BY_NAME = {rule.name: rule for rule in ROWS}
LAUNCH_RULES = tuple(rule for rule in ROWS if rule.each_launch)
