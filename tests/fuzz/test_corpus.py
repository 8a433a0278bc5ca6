"""What fuzzing has found interesting is tried again in each run; `make fuzz` looks for more."""

from pathlib import Path

import pytest
from fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"
KEPT = [
    pytest.param(target, file, id=f"{target}-{file.name[:12]}")
    for target in TARGETS
    for file in sorted((CORPUS / target).iterdir())
]


@pytest.mark.parametrize(("target", "file"), KEPT)
def test_what_was_kept_is_read_or_refused(target: str, file: Path) -> None:
    TARGETS[target](file.read_bytes())


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_has_something_to_begin_with_and_none_of_it_is_large(target: str) -> None:
    sizes = [file.stat().st_size for file in (CORPUS / target).iterdir()]
    assert len(sizes) >= 5
    assert max(sizes) <= 32_768
