"""What an operator does with runs: look at them."""

from flowml.ops.show import show

__all__ = ["show"]
