"""The training itself: a step, over and over, and what happens between steps.

`steps` is the loop; `batches` (which examples a step trains), `schedule` (its learning rate and random numbers), `weights` (what learns).
Between steps: `evaluate`, `saving` and `checkpoints`, `metrics` with their `trackers`, `speed`.
"""
