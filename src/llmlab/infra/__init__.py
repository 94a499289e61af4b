"""The engine that turns a list of declarations into a plan, a lab and nothing again. Knows no AWS.

`resource` says what a declaration is, `plan` compares, `apply` makes it so, `destroy` takes it away, `order` runs all three
in parallel, along the dependencies.
"""
