"""Rewards that can be checked: a list of them, or a Python file of the user's, computed in a process that is kept from everything else.

The command line tries a reward on the data's own rows and the trainer asks it about what the model has said, through the same few
functions. `listed` are the rewards by name, `files` the file of the user's, `scoring` starts the process and judges what it answers. In the
process run `child` (with the standard library alone) and `confinement`, which gives up, by `landlock` and `seccomp`, what a reward has no
need of. What the file prints is thrown away. The price: a file's reward starts no programs and asks no other machine.
"""
