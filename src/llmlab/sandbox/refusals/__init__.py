"""The one table of what AWS refuses, or answers otherwise than moto: operation, condition, AWS's code and sentence, and where that stands.

To add a row: 1. Write a `Rule(...)` into `ROWS` of its service's file, with the address of the documentation, recorded answer or issue
as its source; a function `applies(call)` says whether the call meets it, and hands over what the sentence's `{fields}` are. 2. Give it
`on=On.NAMED` while the program does not survive it, and none (always) from the fix on. 3. Provoke it by plain boto3 in
`tests/sandbox/refusals/`, under `@provokes("its-name")`; a law counts.

A rule is judged in one place, before moto answers (`checking`). `each_launch` rules see every launch with its template filled in, and
in a fleet their answer stands among the errors of its 200. A row without `applies` is met inside an answer of ours, which raises
`checking.refused("its-name")`. `llmlab sandbox exec --refuse NAME[=AMOUNT] --mode new-account` and `switch.switched` turn rows on.
"""
