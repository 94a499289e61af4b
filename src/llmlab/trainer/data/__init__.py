"""Examples to tokens: every line accounted for, in memory that does not grow with the data, on all cores.

`load_examples` is the whole of it. In its order: the `worker_pool` hands out the lines, `tokenize_shard` makes tokens of some of them, for
which `example_encoder` renders and encodes an example and `split_long` splits what is too long; `token_dataset` keeps the tokens, `facts`
the counts, and `grpo_prompts` each row for the rewards.
"""
