"""Links send commands and get replies in one exchange: the one place where bytes meet sockets."""
