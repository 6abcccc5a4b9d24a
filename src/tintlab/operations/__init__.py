"""Run the project as a whole: the pipeline, services, scheduled retrainings and clean-up."""
