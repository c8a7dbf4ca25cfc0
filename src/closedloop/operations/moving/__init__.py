"""Moving a use case to a team's MLflow server and database."""
