"""The detector as the gate runs it: engines, its process, its self-test."""
