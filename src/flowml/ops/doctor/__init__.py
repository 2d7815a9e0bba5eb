"""``flowml doctor``: what is wrong with this place, and what to do about it."""
