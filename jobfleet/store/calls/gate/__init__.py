"""Calls for named limits and circuit breakers.

The name of a gate has its kind in front: ``limit:github``, ``breaker:function:mail.send``.
"""
