"""Every way of running a task, against real stores and real servers: each run right, and nothing else there."""
