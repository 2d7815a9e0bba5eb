"""``flowml reap``: closes the runs that nobody is going to close any more.

Words: `reap_runs` (finds and closes them), `verdict` (whether one has ended, and how), `scheduled` (as a flow),
`report`, `News` (what Prefect may still hear of processes that are gone).
"""
