"""The training program: `python -m llmlab.trainer` in the training container, without network or credentials.

It reads its work folder (`contract.WorkFolder`) and writes into it, and knows nothing else. `run` is the one path; in its order:

- examples to tokens: `data`, `blocks` and `workers` (in bounded memory, on all cores), `tokens`, `template`, `drafts`, `cutting`, `store`
- the model: `model`, `fused`, `attention` and `attention_cpu`, `loss`, `objective` (model and loss as one), `memory`
- the loop: `loop`, `batches` (which examples a step trains, and how they lie), `schedule`, `evaluate`, `saving`, `checkpoints`, `weights`,
  `speed`, `metrics`
- several GPUs: `processes`, `sharding`
- what comes out: `output`, `card`, `origin`, `ollama`, `trackers`; and by themselves `answer` and `merge`
- `control` (files shared with the agent) and `endings` (why it ended)
"""
