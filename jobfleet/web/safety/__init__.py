"""Who may do what: the access file, sessions, roles, the checks of a request, and the headers of an answer."""
