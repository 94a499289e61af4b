"""The infrastructure engine: plans, applies and deletes a list of resource declarations. It knows nothing of AWS.

`resource` defines a declaration, `plan` compares it with what exists, `apply` carries a plan out, `destroy` deletes resources, and
`order` runs all three in parallel along the dependencies.
"""
