"""Flows that run by themselves: deployments, their schedules, and what is done with them.

Words: `Deployment` (what is declared beside a flow), `schedules` (when it runs), `deploying` (declared becomes
Prefect's), `triggering` (a run now), `backfill` (runs for times that have passed), `api` (what Prefect has).
"""
