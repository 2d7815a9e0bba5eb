"""MLflow as it is reached from here: which one, its client, its database, its failures.

Words: `Connection` (one store and its client), `embedded` (the store of a project that named none), `failures` (as
one error that says what to do), `retrying` (what may pass), `mlflow_state` (what the user said to MLflow), `imports`.
"""
