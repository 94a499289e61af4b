"""Examples to tokens: every line accounted for, in memory that does not grow with the data, on all cores.

`data` is the whole of it. In its order: `workers` hand out the lines, `blocks` make tokens of some of them, for which `drafts` writes an
example by the model's `template`, `tokens` encodes it and `cutting` splits what is too long; `store` keeps the tokens, `facts` the counts.
"""
