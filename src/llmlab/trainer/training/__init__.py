"""The training itself: a step, over and over, and what happens between steps.

`training_loop` takes the steps; `sampler` says which examples a step trains, `lr_schedule` its learning rate, `optimizers` how weights
move, `trainable_state` what learns. Between steps: `evaluate`, `async_checkpoint` and `checkpoints`, `metrics_file` with its `trackers`,
`throughput`.
"""
