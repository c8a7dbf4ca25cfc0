"""Table files of any size: CSV in any dialect, Parquet; found out, read in chunks, written."""
