"""What an outermost flow's run keeps, so that the flow can be run again as it was: code, packages, parameters.

Words: `origin_of` (all of it, as records), `code` (commit and changes, by git), `packages` (a lock that uv installs),
`parameters` (as JSON, without secrets), `files` (how the files are called).
"""

from flowml.provenance.recording import origin_of

__all__ = ["origin_of"]
