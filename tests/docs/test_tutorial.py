"""The tutorial: its steps are followed in one folder, one after the other, as a reader does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.pages import STEPS, blocks_of
from tests.support.reader import Reader
from tests.support.server import RedisServer


@pytest.mark.fresh
@pytest.mark.timeout(900)  # it starts many processes, each with a deadline that a busy machine makes longer
@pytest.mark.parametrize(
    "numbers",
    [
        pytest.param(
            [0, 1, 4], id="short"
        ),  # the others need two more starts of a worker; both paths end in a deployment
        pytest.param([0, 1, 2, 3, 4], id="whole", marks=pytest.mark.slow),
    ],
)
def test_the_steps_lead_from_an_empty_folder_to_a_deployed_fleet(numbers: list[int], tmp_path: Path) -> None:
    pages = [STEPS[number] for number in numbers]
    development = [block for page in pages[:-1] for block in blocks_of(page)]
    deployment = blocks_of(pages[-1])

    with Reader(tmp_path, development) as reader:
        reader.follow()
        count = reader.count
        with RedisServer("--appendonly", "yes", "--maxmemory-policy", "noeviction") as server:
            reader.deploy(server.url, deployment)

    assert count == sum(block.is_run for block in development)
    assert reader.count - count == sum(block.is_run for block in deployment)


def test_the_tutorial_has_five_steps() -> None:
    assert [page.stem[0] for page in STEPS] == ["1", "2", "3", "4", "5"]
