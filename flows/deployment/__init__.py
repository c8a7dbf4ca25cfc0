"""How the flows get onto a Prefect server, and what runs on the schedule."""
