"""What only time and numbers show."""
