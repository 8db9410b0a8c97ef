"""What a supervisor and its children share."""
