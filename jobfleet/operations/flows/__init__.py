"""Operations on flows: jobs that depend on each other."""
