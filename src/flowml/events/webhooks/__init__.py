"""MLflow's webhooks: a promotion made elsewhere becomes an event.

Words: `receiver` (takes the messages), `signature` (whether one is MLflow's own), `registration` (there once in
MLflow).
"""
