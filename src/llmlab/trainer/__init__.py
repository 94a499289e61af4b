"""The training program: `python -m llmlab.trainer` in the training container, without network or credentials.

It reads its work folder (`contract.WorkFolder`) and writes into it, and knows nothing else. In reading order: `run` (the one path),
`parse` (spec and recipe), `data` and `tokens` (examples to token ids and labels), `model`, `loop` (TRL's trainer and what happens at
each step), `checkpoints`, `metrics`, `control` (files shared with the agent), `output`, `endings` (why it ended) and `answer`.
"""
