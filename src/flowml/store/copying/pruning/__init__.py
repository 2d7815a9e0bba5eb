"""Removes from the offline store what is there in the other one.

Words: `prune_copied` (the whole of it), `Copies` (what is copied, and is there in truth), `Memory` (which copy was
whose).
"""
