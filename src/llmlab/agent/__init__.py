"""The agent: on the instance, beside the training container, with the role's credentials that the trainer does not have.

It checks the data, brings the newest checkpoint, tells how the run is doing, saves every checkpoint, hears of interruptions and
limits, and writes the last word. It talks to the trainer and to the host through files (`contract.WorkFolder`), and to nobody else.
"""
