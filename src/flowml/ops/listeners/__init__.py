"""Programs that go on listening: for files that change, and for MLflow's webhooks.

Words: `watching` (files), `webhooks`.
"""
