"""Model versions in MLflow: register, judge, promote and roll back."""
