"""Ways in which MLflow is used by hand, each as a scenario that runs with Prefect's decorators and with flowml's."""
