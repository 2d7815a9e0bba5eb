"""From Prefect's runs to MLflow's: what Prefect's API is told, and Prefect's pages show.

Words: `artifacts` (links and summaries in Prefect's UI), `labels` (which MLflow run a Prefect run has, carried to
other processes), `client` (Prefect's API in a thread of flowml's), `urls` (pages of Prefect's UI), `telling`
(events of what the user's code came to).
"""
