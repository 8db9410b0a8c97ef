"""The actions of operators as the audit records them: their names, targets and values."""
