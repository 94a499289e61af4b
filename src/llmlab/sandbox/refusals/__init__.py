"""The table of calls that AWS refuses, or answers otherwise than moto: operation, condition, AWS's code and message, and the source.

To add a row: 1. Write a `Rule(...)` into `ROWS` of its service's file, with the address of the documentation, recorded answer or issue
as its source; a function `applies(call)` tells whether the call meets it, and returns the values of the message's `{fields}`. 2. Give it
`on=On.NAMED` while the program does not survive it, and remove that (so that it always holds) with the fix. 3. Provoke it by plain boto3
in `tests/sandbox/refusals/`, under `@provokes("its-name")`; a test counts that every row is.

Rules are evaluated in one place, before moto answers (`checking`). `each_launch` rules see every launch with its template filled in; in a
fleet their error is in the list of errors of a 200. A row without `applies` is raised inside one of the sandbox's own answers, by
`checking.refused("its-name")`. `llmlab sandbox exec --refuse NAME[=AMOUNT] --mode new-account` and `switch.switched` turn rows on.
"""
