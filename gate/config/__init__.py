"""gate.yaml: its schema, its doors and the files it names."""
