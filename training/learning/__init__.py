"""How a detector learns: targets, losses, batches, schedule, trainer, runs."""
