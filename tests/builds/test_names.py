"""Names: distinct inputs have distinct names, and none is ever cut without its hash."""

import re

from hypothesis import given
from hypothesis import strategies as st

from knative_lambda.schemas import names

functions = st.from_regex(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True)
LABEL = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")


@given(functions, st.text(), st.text())
def test_a_builds_name_and_its_jobs_are_dns_labels(function: str, inputs: str, rebuild: str) -> None:
    name = names.build_name(function, "uid", inputs, rebuild)
    assert LABEL.fullmatch(name)
    assert len(f"{name}-100") <= 63


def test_functions_whose_first_forty_characters_are_equal_have_distinct_builds() -> None:
    one, two = (names.build_name("x" * 50 + end, f"uid-{end}", "sha256:1", "") for end in "ab")
    assert one != two


def test_long_functions_with_equal_beginnings_have_distinct_triggers() -> None:
    one, two = (names.trigger_name("y" * 60 + end, {"type": "t"}) for end in "ab")
    assert one != two
    assert len(one) <= 63
