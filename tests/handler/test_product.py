"""What the use cases share beside their events."""

from support.world import World


def test_all_requests_take_turns_with_their_large_sources() -> None:
    product = World().product
    assert product.objects("acme").turns is product.objects("other").turns
