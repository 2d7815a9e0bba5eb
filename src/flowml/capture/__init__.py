"""The Prefect side: who is calling, with what, and when it ends.

Words: `Session` (the story of one tracked call), `Call` (what is known of it), `Verdict` (how it ended), `guard` (no
error of flowml's reaches the user's code), `inside` (what the user can ask for while it runs).
"""
