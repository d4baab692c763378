"""What people see and hear: overlay, visitor screen, window, recording, sound."""
