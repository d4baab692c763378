"""The real-time runtime: frames in, a door that opens only for properly worn masks out."""
