"""Pages and pictures that people look at: validation, evaluation and verdicts."""
