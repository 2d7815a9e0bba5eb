"""Models: saved in the task's thread, sent in the sender's, known again when they return.

Words: `log_model` (save and send), `flavors` (a model's folder), `signature` (with an input example), `requirements`,
`registry` (versions), `identity` (which object was logged as which model).
"""
