"""`python -m llmlab.sandbox.refusals`: print the table of refusals, and the number of its rows."""

import sys

from llmlab.sandbox.refusals.table import ROWS

for rule in ROWS:
    answer = f"{rule.code}: {rule.message}" if rule.code else rule.message
    sys.stdout.write(f"{rule.name} ({rule.on}; passed by {rule.until})\n  {', '.join(rule.operations)} when {rule.when}\n")
    sys.stdout.write(f"  {answer}\n  {rule.source}\n")
sys.stdout.write(f"{len(ROWS)} rows\n")
