"""What the tests of old mistakes share."""

import pytest
from support.site import Site


@pytest.fixture
def site() -> Site:
    return Site()
