import pytest
from tests.client.test_verbs import test_events_tell_what_happens_in_its_order as story

@pytest.mark.parametrize("n", range(60))
async def test_story(n, client, work, raw):
    await story(client, work, raw)
