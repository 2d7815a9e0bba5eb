"""What MLflow takes at most: characters of a name or value, entries of one request.

Source: ``mlflow/utils/validation.py``; a contract test compares them with the installed MLflow.
"""

KEY = 250
"""Characters of the name of a parameter, metric or tag."""

PARAM = 6000
"""Characters of a parameter's value."""

TAG = 8000
"""Characters of a tag's value."""

DATASET_NAME = 500
"""Characters of a dataset's name."""

SCHEMA = 1_048_575
"""Characters of a dataset's schema."""

PROFILE = 16_777_215
"""Characters of a dataset's profile."""

BATCH_PARAMS = BATCH_TAGS = 100
"""Parameters, and tags, of one request."""

BATCH = 1000
"""Metrics, parameters and tags of one request together."""

PAGE = 1000
"""Runs or experiments that are asked for at a time; a page may hold more, but not on every server."""
