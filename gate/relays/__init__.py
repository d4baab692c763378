"""What moves a lock: one driver for each kind of relay, owned by a guardian process."""
