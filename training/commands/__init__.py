"""The command lines of training."""
