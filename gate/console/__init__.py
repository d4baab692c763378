"""The guard's console: a web server in a process of its own that by itself opens nothing."""
