"""The loop, what it is built from, and several doors at once."""
