"""The detector as mathematics: tensors in, tensors out."""
