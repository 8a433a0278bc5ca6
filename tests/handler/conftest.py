"""What the tests of the use cases share."""

import pytest
from support.world import World


@pytest.fixture
def world() -> World:
    return World()
