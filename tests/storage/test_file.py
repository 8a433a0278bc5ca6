"""What holds for the folder alone: a crash and a race leave nothing that can be seen."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from knative_lambda.storage.file import FileStore


def test_what_a_crash_left_is_not_an_object(tmp_path: Path) -> None:
    """A process that was killed while it wrote leaves a part of a file; the next one neither lists nor minds it."""
    before = FileStore(tmp_path)
    before.put("a/whole", b"x")
    [writing] = [path for path in tmp_path.iterdir() if path.name != "a"]
    (writing / "tmp-of-the-dead").write_bytes(b"half a fi")
    after = FileStore(tmp_path)
    assert [found.key for found in after.list("")] == ["a/whole"]
    after.put("a/whole", b"y")
    assert after.get("a/whole", limit=1) == b"y"


def test_a_put_that_fails_leaves_nothing(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    store.put("a", b"old")
    with pytest.raises(TypeError):
        store.put("a", "not bytes")  # type: ignore[arg-type]
    assert store.get("a", limit=3) == b"old"
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["a"]


def test_objects_are_for_their_owner_alone(tmp_path: Path) -> None:
    FileStore(tmp_path).put("a", b"x")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == stat.S_IRUSR | stat.S_IWUSR


def test_folders_that_come_and_go_do_not_break_a_put(tmp_path: Path) -> None:
    """Each delete takes the empty folder away under the other threads' hands."""
    store = FileStore(tmp_path)

    def work(thread: int) -> None:
        for _ in range(50):
            store.put(f"a/b/{thread}", b"x")
            assert store.get(f"a/b/{thread}", limit=1) == b"x"
            store.delete(f"a/b/{thread}")
            list(store.list(""))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))
    assert list(store.list("")) == []
    assert not (tmp_path / "a").exists()
