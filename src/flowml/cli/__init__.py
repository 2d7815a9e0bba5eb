"""The command ``flowml``: every command, a file for each group.

Words: `app` (the program); `runs`, `local_servers`, `deployments`, `listeners`, `upkeep` (its groups); `servers` and
`deployments_view` (how two of them look in the terminal); `durations` and `exit_codes`.
"""
