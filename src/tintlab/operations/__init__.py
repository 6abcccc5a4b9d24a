"""What runs the project as a whole: the pipeline, services, scheduled retrainings and clearing up."""
