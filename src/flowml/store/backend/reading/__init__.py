"""Runs that are only looked at, read without MLflow's client: importing it takes longer than the command.

Words: `Row` (a run as it is read), `sqlite_runs` (from flowml's own file), `server_runs` (from an MLflow server).
"""
