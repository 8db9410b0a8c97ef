"""The retry options that workers publish for reapers and other processes, which may be of an earlier revision."""

from __future__ import annotations

from jobfleet.config import JobConfig
from jobfleet.functions.manifest import function_record, read_function
from jobfleet.functions.registry import Registry
from jobfleet.retry.decision import policy_of


def function() -> None: ...


def test_a_list_is_published_beside_one_number_for_earlier_revisions() -> None:
    made = Registry().register(function, name="app.f", retry_delay=[10, "30s"], retry_for="1d")

    published = read_function(function_record(made))

    assert published == {"retry_delay": 10.0, "retry_delays": [10.0, 30.0], "retry_for": 86400.0}
    assert policy_of(published, JobConfig()).retry_delays == (10.0, 30.0)


def test_of_a_function_only_its_existence_is_published() -> None:
    made = Registry().register(function, name="app.f", retry_delay=lambda number, error: number)

    assert read_function(function_record(made)) == {"delay_function": True}
