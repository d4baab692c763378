"""From a decision to a signal: the lease, its controller, who is told, and who owns the door."""
