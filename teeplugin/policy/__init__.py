"""What to list, and why: pure."""
