"""The agent: on the instance, beside the training container, with the role's credentials that the trainer does not have.

It checks the data, downloads the newest checkpoint, reports how the run is doing, uploads every checkpoint, watches for interruptions and
limits, and writes how the attempt ended. It talks to the trainer and to the host through files (`contract.WorkFolder`), and to nobody else.
"""
