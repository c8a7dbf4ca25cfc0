"""Answered requests and their labels: written, read back as windows, and deleted in time."""
