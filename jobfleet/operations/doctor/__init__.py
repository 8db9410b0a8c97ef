"""What is wrong in a fleet."""
