"""The training program: `python -m llmlab.trainer` in the training container, without network or credentials.

It reads its work folder (`contract.WorkFolder`) and writes into it, and knows nothing else. `run` is the one path: `data` to tokens,
the `model` they train, the `training` itself, the `export` of what comes out. Each knows those before it and none after it; beneath
all of them are `device` (what it can compute), `distributed` (one process a GPU), `memory` (what fills it), `control` (files shared
with the agent) and `failures` (why it ended).
"""
