"""The command lines of the gate."""
