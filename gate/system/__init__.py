"""What the gate needs of the machine: threads, processes, files, signals, terminal, systemd."""
