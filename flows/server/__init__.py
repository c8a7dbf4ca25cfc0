"""What a running flow asks of the Prefect server that it runs on."""
