"""Answered requests and their labels: written, read back as windows, and kept as long as they are
needed."""
