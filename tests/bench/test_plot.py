"""The pictures are drawn of whatever was measured; matplotlib comes with `make bench` alone."""

from pathlib import Path

import pytest
from bench.plan import ROWS

plot = pytest.importorskip("bench.plot", reason="matplotlib is not here: make bench installs it", exc_type=ImportError)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("groups", ["speed at_once cold acks growth", "acks", "cold", ""])
def test_pictures_are_drawn_of_what_there_is(groups: str, tmp_path: Path) -> None:
    values = {row.key: {1: 2.0, 2: 3.0} for row in ROWS if row.group in groups.split()}
    drawn = plot.draw(values, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        f"{name}.{kind}" for name, _ in drawn for kind in ("png", "svg")
    }
    assert bool(drawn) == bool(groups)
