"""Whose turn it is: each Function once, tenants in turn, and nobody waits for a tenant that was put off."""

from concurrent.futures import ThreadPoolExecutor

from knative_lambda.handler.tell.dues import Due, Dues


def drain(dues: Dues) -> list[Due]:
    """Take all that can be taken now."""
    taken = []
    while (due := dues.take(wait=False)) is not None:
        taken.append(due)
    return taken


def test_a_function_that_is_added_often_has_one_turn() -> None:
    """A thousand reports of one Function take no more room than one."""
    dues = Dues()
    for _ in range(1000):
        dues.add(("acme", "hello"))
    assert drain(dues) == [("acme", "hello")]


def test_tenants_take_turns_however_many_functions_one_has() -> None:
    dues = Dues()
    for name in "abc":
        dues.add(("busy", name))
    dues.add(("quiet", "x"))
    assert drain(dues) == [("busy", "a"), ("quiet", "x"), ("busy", "b"), ("busy", "c")]


def test_a_tenant_that_was_put_off_waits_alone_and_comes_back() -> None:
    now = [100.0]
    dues = Dues(lambda: now[0])
    for due in (("bad", "a"), ("bad", "b"), ("good", "c")):
        dues.add(due)
    assert dues.take() == ("bad", "a")
    dues.put_off(("bad", "a"), 5)
    assert drain(dues) == [("good", "c")]
    now[0] += 5
    assert drain(dues) == [("bad", "b"), ("bad", "a")]


def test_who_waits_is_told_of_the_next_due_and_of_the_end() -> None:
    dues = Dues()
    with ThreadPoolExecutor(1) as thread:
        first = thread.submit(dues.take)
        dues.add(("acme", "hello"))
        assert first.result(60) == ("acme", "hello")
        last = thread.submit(dues.take)
        dues.close()
        assert last.result(60) is None


def test_what_is_due_at_the_end_is_given_and_what_was_put_off_is_not_waited_for() -> None:
    dues = Dues()
    dues.put_off(("bad", "a"), 3600)
    dues.add(("good", "b"))
    dues.close()
    assert [dues.take(), dues.take()] == [("good", "b"), None]
