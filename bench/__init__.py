"""What jobfleet costs: every figure beside its floor, in the same run on the same machine.

`python -m bench` prints one table and writes it as JSON; see README.md.
"""
