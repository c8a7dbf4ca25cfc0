"""How flows get onto a Prefect server: served, deployed, with dead runs found."""
