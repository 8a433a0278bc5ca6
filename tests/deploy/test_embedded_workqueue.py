import threading

from knative_lambda.deploy.embedded.workqueue import WorkQueue


def test_a_key_that_comes_again_during_its_work_is_worked_on_once_more_and_never_twice_at_once() -> None:
    started, go_on = threading.Semaphore(0), threading.Semaphore(0)
    done: list[str] = []

    def work(key: str) -> None:
        started.release()
        assert go_on.acquire(timeout=60)
        done.append(key)

    queue = WorkQueue(work, threads=3)
    queue.add("a")
    assert started.acquire(timeout=60)
    queue.add("a")
    queue.add("a")
    queue.add("b")
    assert started.acquire(timeout=60)
    assert not started.acquire(blocking=False)
    for _ in range(3):
        go_on.release()

    assert queue.idle(60)
    assert sorted(done) == ["a", "a", "b"]
    queue.close()


def test_work_that_fails_is_tried_again() -> None:
    tries: list[str] = []

    def work(key: str) -> None:
        tries.append(key)
        if len(tries) == 1:
            raise RuntimeError("not yet")

    queue = WorkQueue(work, retry=0.01)
    queue.add("a")

    assert queue.idle(60)
    assert tries == ["a", "a"]
    queue.close()
