"""MLflow runs: record to a spool on disk, send them, and find where a result came from."""
