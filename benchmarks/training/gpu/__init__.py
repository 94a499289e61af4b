"""Minutes on a machine with a GPU: what a CPU cannot show of the trainer, in parts, the most telling first."""
