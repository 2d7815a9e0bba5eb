"""What a model says of its inputs, and that it takes them."""
