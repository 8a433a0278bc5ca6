"""The records that growth is measured with are what the product takes for settled: a sweep finds nothing to do."""

from bench.growth import Template
from support.estate import Estate

from knative_lambda.deploy.cluster import FUNCTION, KNATIVE_SERVICE
from knative_lambda.schemas import types


def grown() -> Estate:
    """Return an estate with one function that is settled, and three copies of its records."""
    estate = Estate()
    source = {"inline": {"main.py": "def handle(event, context):\n    return {}\n"}}
    data = {"tenant": "acme", "name": "grow", "runtime": "python", "source": source}
    estate.deliver(estate.event(types.BUILD_START, data))
    estate.rest()
    Template(estate.cluster, "acme", "grow").copy(range(1, 4), print)
    return estate


def test_a_sweep_finds_nothing_to_do_for_copied_records() -> None:
    estate = grown()
    assert len(estate.cluster.list(FUNCTION, "acme")) == 4
    before = estate.changes
    estate.deliver(estate.event(types.PING, {}))
    assert estate.changes == before


def test_it_would_find_something_were_a_record_not_whole() -> None:
    estate = grown()
    estate.cluster.delete(KNATIVE_SERVICE, "acme", "grow-00002")
    before = estate.changes
    estate.deliver(estate.event(types.PING, {}))
    assert estate.changes > before
