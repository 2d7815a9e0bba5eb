"""Code written for Prefect and MLflow, run as it is and with its one import changed."""
