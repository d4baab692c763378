"""Data sets: reading, checking, converting, splitting and augmenting them."""
