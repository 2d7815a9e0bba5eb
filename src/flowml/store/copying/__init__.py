"""Copies one MLflow store into another, by MLflow's own client: what was tracked offline goes where it is meant to be.

Words: `copy` (the whole story), `Ends` (the two stores), `Links` (old ids and their new ones), `marks` (the tags that
say what was copied, so that each thing is copied once), `Copied` (what was done), `lost` (copies that are not
there any more), `pruning` (what is removed after).
"""
