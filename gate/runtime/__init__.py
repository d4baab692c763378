"""From its parts to a running gate: the doors, the run of each, its loop, and the lock by hand."""
