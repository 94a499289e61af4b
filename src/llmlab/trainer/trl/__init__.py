"""TRL's own trainers under llmlab's contract: our tokens, checkpoints, requests, metrics and output around TRL's forward pass and loss.

`steps` is llmlab's loop with a trainer of TRL's in the middle of each step, `stepping` what is put before such a trainer so that it takes
our steps, and `objective` what every objective has in common; each has a small module of its own.
"""
