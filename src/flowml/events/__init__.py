"""Events: what flowml tells Prefect, and the triggers that start deployments on it."""
