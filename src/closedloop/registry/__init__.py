"""MLflow's only door: runs, versions, and which version is live."""
