"""The networks as PyTorch modules, and how their raw maps are read."""
