"""Values of annotated types as plain data, and back: what travels is data, and annotations say what it becomes."""
