"""The Prefect side: who is calling, with what, and when it ends."""
