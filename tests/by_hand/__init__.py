"""Code that users have written by hand for MLflow goes on working under flowml's decorators."""
