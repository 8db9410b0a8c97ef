"""One connection for the subscriptions of a whole client. Messages may be lost; they are only hints."""
