"""From candidate to champion: versions of registered models are compared, approved, promoted and rolled back.

Words: `gate` (is the candidate better?), `approve` (a person says so),
`promote` and `rollback` (an alias moves), `history` (every move, and who made it).
"""
