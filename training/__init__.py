"""Everything that needs labels: data sets, losses, training, evaluation."""
