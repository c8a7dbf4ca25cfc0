"""Closed days of the records as Parquet files: copies from which windows are read fast."""
