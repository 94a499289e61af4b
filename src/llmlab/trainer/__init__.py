"""The training program: `python -m llmlab.trainer` in the training container, without network or credentials.

It reads its work folder (`contract.WorkFolder`) and writes into it, and knows nothing else. `run` is the one path: `examples` to tokens,
the `model` they train, the `loop` that trains it, the `results` that are left. Each knows those before it and none after it; beneath
all of them are `machine` (what it can compute), `processes` (one a GPU), `memory` (what fills it), `control` (files shared with the
agent) and `endings` (why it ended).
"""
