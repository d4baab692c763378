"""What a model sees in any pictures: faces as values, drawn, and as files for other tools."""
