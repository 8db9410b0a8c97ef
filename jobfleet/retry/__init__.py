"""What follows from the outcome of a run: the decision, the rules for retries, and the budgets. Pure.

Clients read budgets and rules, and never decide. So this package imports none of its modules by itself.
"""
