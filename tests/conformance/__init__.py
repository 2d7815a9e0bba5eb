"""What a tracker must keep when MLflow fails and processes are killed: nothing that was logged is lost.

The tests know flowml by `tracker.Tracker` alone: programs to run, a command that sends what was left, and an MLflow to
read. So another tracker can be put under them: write its programs and its `Tracker`, and give that to the fixture
`tracker` (conftest.py). Words: a `Fault` is what the `Proxy` before MLflow does to a request; the `reference` is a
program whose results and runs are known; a `reading` is all that MLflow has of it, in a form that compares.
"""
