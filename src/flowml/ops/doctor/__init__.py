"""``flowml doctor``: what is wrong with this place, and what to do about it.

Words: `Finding` (one result), `Setup` (what is looked at), `checks` (all of them, in order; each other file has
some).
"""
