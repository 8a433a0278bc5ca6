"""Whatever is asked of ``/v1``, the answer is one that its description names, and never a fault of ours.

schemathesis makes the requests of the description itself, good ones and bad ones. Its plug-in for pytest is off: it
takes a second of every run, and a strategy is all that is needed.
"""

import json
from functools import cache

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance
from support.site import Site

from knative_lambda.schemas.catalogue import openapi

OPERATIONS = [(path, method) for path, methods in openapi()["paths"].items() for method in methods]
CHECKS = [not_a_server_error, status_code_conformance, response_schema_conformance]


@cache
def described(without: str = "") -> schemathesis.schemas.BaseSchema:
    """Return the description, of a site that has a function with a build; `without` is an answer that it leaves out."""
    site = Site()
    assert site.post().status_code == 202
    described = json.loads(json.dumps(openapi()))
    for methods in described["paths"].values():
        for method in methods.values():
            method["responses"].pop(without, None)
    schema = schemathesis.openapi.from_dict(described)
    schema.app = site.http().application
    return schema


def ask(schema: schemathesis.schemas.BaseSchema, path: str, method: str, mode: GenerationMode) -> None:
    """Ask a site what a strategy draws from its description, and hold its answers against that."""
    asked = schema[path][method].as_strategy(generation_mode=mode)

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def answers(data: st.DataObject) -> None:
        case: Case = data.draw(asked)
        case.call_and_validate(checks=CHECKS)

    answers()


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
@pytest.mark.parametrize("mode", list(GenerationMode))
def test_the_read_model_answers_as_it_is_described(path: str, method: str, mode: GenerationMode) -> None:
    ask(described(), path, method, mode)


def test_an_answer_that_is_not_described_would_be_found() -> None:
    with pytest.raises(BaseExceptionGroup, match="Undocumented"):
        ask(described(without="404"), *OPERATIONS[1], GenerationMode.POSITIVE)
