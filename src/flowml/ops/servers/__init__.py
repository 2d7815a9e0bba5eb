"""``flowml up``, ``down`` and ``status``: the project's Prefect and MLflow servers.

Words: `up`, `down`, `options` (what the servers are given).
"""
