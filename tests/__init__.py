"""The tests of flowml."""
