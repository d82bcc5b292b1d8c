"""Small building blocks that every room may use: counters, and the newest value of something."""
