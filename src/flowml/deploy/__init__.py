"""Flows that run by themselves: deployments, their schedules, and what is done with them."""
