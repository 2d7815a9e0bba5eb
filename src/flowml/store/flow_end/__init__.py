"""What the end of a flow's run brings: its children are read, summed up and shown on its page.

Words: `Ending` (all of it, in order), `child_runs`, `summary` (calls without a run), `note` and `graph` (the page),
`losses` (what did not arrive), `orphans` (runs that nobody else closes), `attempts` (at one flow run), `again` (what a
flow tells of that came late).
"""
