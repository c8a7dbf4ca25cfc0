"""Who may ask our servers: the rules for a request, the guard around MLflow and Prefect, logins."""
