"""What a flow asks of the Prefect server it runs on: its run, its children, its run form."""
