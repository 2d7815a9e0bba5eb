"""The local servers: started, found, known again, ended.

Words: `state` (which there are, in stack.json), `servers` (their command lines), `processes`, `ports`, `health`,
`logs`.
"""
