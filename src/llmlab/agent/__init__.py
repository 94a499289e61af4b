"""On the instance, beside the training container: sync, spot notice, heartbeat, markers."""
