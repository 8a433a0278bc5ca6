"""What all these stories did to the world, as the receivers' logs tell it, is what the crash matrix kills around."""

from pathlib import Path

import pytest
from support.recorded import Recorded

EFFECTS = Path(__file__).parents[1] / "faults" / "effects.txt"
OF_TOKENS = {"cluster.create Secret", "cluster.delete Secret"}
"""Where each build pushes with a token of its own, which is told in `security/`."""


def test_the_effects_on_a_real_cluster_are_those_on_record(recorded: Recorded, request: pytest.FixtureRequest) -> None:
    """A call that only the real ports make, or that only the fakes know, would be killed around by nobody."""
    recorded.gather()
    on_record = set(EFFECTS.read_text().splitlines())
    assert recorded.effects <= on_record
    chosen = request.config.option.keyword or request.config.option.markexpr
    if chosen or request.session.testsfailed:
        pytest.skip("not every story was told to its end")
    assert recorded.effects | OF_TOKENS == on_record
