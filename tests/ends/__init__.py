"""What MLflow says of runs that end in every way."""
