"""All that knows Prefect's engine: its objects, its contexts, its states, its runner.

Words: `tracked` (Prefect's flows and tasks, with tracking), `attempt` (who is calling, read from Prefect), `states`
(each state that Prefect sets is heard), `leaving` (a call goes to another process), `hooks` (Prefect's runner ended a
process).
"""
