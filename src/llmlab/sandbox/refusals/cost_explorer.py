"""cost_explorer."""

from llmlab.sandbox.refusals.rule import Rule

ROWS: tuple[Rule, ...] = ()
