"""Alerts: what happened, why, and what to do, told once to each channel."""
