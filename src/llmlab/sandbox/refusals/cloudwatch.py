"""cloudwatch."""

from llmlab.sandbox.refusals.rule import Rule

ROWS: tuple[Rule, ...] = ()
