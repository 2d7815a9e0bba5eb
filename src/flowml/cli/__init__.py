"""The command ``flowml``: every command, a file for each group.

Words: `app` (the program), `runs`, `deployments`, `servers` (the groups), `exit_codes`.
"""
