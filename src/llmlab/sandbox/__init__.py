"""An AWS of your own on this machine."""
