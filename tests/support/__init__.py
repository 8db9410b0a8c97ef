"""What tests share: servers, and waiting."""
