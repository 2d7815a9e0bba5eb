"""`flowml sync`: what waits on this machine goes to MLflow.

Words: `sync` (send what journals hold), `waiting` (what waits, since when, how large).
"""
