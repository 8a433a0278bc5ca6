"""Untrusted archives: what comes through is regular files with decent names, and nothing else."""

import gzip
import io
import tarfile
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knative_lambda.builds.archive import File, Limits, canonical, compress, digest, inline, unpack
from knative_lambda.schemas.errors import ProductError, Refused, TooLarge

LIMITS = Limits(files=50, total=200_000)
Change = Callable[[tarfile.TarInfo], None]


def packed(*entries: tuple[str, bytes], change: Change = lambda _: None) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, body in entries:
            entry = tarfile.TarInfo(name)
            entry.size = len(body)
            change(entry)
            tar.addfile(entry, io.BytesIO(body))
    return out.getvalue()


def faults(archive: bytes) -> list[str]:
    with pytest.raises(Refused) as refused:
        unpack(archive, LIMITS, "/data/source/archive")
    assert {fault.where for fault in refused.value.faults} == {"/data/source/archive"}
    return [fault.message for fault in refused.value.faults]


def test_files_come_out_as_they_went_in() -> None:
    def executable(entry: tarfile.TarInfo) -> None:
        entry.mode = 0o755 if entry.name == "run.sh" else 0o640

    found = unpack(packed(("./main.py", b"x"), ("lib/a.py", b""), ("run.sh", b"y"), change=executable), LIMITS, "")
    assert found == {"main.py": File(b"x"), "lib/a.py": File(b""), "run.sh": File(b"y", executable=True)}


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../up", "a/../../up", "a/./b", "a//b", "back\\slash", "new\nline", "x" * 600, "bad\udcff"]
)
def test_a_path_that_could_leave_its_folder_is_refused(name: str) -> None:
    assert faults(packed((name, b"x"), ("good", b"y")))


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.CONTTYPE]
)
def test_links_devices_and_pipes_are_refused(kind: bytes) -> None:
    def special(entry: tarfile.TarInfo) -> None:
        entry.type, entry.linkname, entry.size = kind, "/etc/passwd", 0

    if kind == tarfile.CONTTYPE:  # an old name for a regular file
        assert unpack(packed(("x", b""), change=special), LIMITS, "") == {"x": File(b"")}
    else:
        assert "taken" in faults(packed(("x", b""), change=special))[0]


def test_every_fault_is_told_together() -> None:
    told = faults(packed(("/a", b""), ("../b", b""), ("c", b""), ("c", b"")))
    assert len(told) == 3


def test_a_path_that_is_both_file_and_folder_is_refused() -> None:
    assert "both a file and a folder" in faults(packed(("a", b""), ("a/b", b"")))[0]


def test_a_bomb_ends_at_the_limit() -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)
    with pytest.raises(TooLarge, match="unpacks to more than"):
        unpack(bomb, LIMITS, "")


def test_too_many_entries_are_too_large() -> None:
    with pytest.raises(TooLarge, match="more than 50 entries"):
        unpack(packed(*((f"f{n}", b"") for n in range(51))), LIMITS, "")


@pytest.mark.parametrize(
    "archive",
    [b"", b"\x1f\x8b", b"no gzip", gzip.compress(b"no tar" * 200), packed(("a", b"x" * 5000))[:-60], packed()],
)
def test_what_is_no_whole_archive_is_refused(archive: bytes) -> None:
    assert faults(archive)


def test_an_archive_that_is_damaged_in_the_middle_does_not_lose_its_tail_in_silence() -> None:
    plain = bytearray(gzip.decompress(packed(("a", b"x" * 600), ("b", b"y" * 600))))
    second = plain.index(b"b\0")
    plain[second : second + 20] = b"\xff" * 20
    assert "damaged" in faults(gzip.compress(bytes(plain)))[0]


@given(st.binary(max_size=3000))
def test_no_bytes_escape_as_anything_but_a_refusal(noise: bytes) -> None:
    for archive in (noise, gzip.compress(noise)):
        with pytest.raises(ProductError):
            unpack(archive, LIMITS, "")


names = st.text("abc/.", min_size=1, max_size=8)


@given(st.dictionaries(names, st.binary(max_size=50), max_size=6), st.randoms())
def test_equal_files_have_equal_hashes_in_whatever_order_they_come(files: dict[str, bytes], random: object) -> None:
    entries = list(files.items())
    random.shuffle(entries)  # type: ignore[attr-defined]
    try:
        found = unpack(packed(*entries), LIMITS, "")
    except Refused:
        return
    again = unpack(compress(canonical(found)), LIMITS, "")
    assert digest(canonical(again)) == digest(canonical(found))
    assert {name: file.body for name, file in found.items()} == {
        name.removeprefix("./"): body for name, body in files.items()
    }


def test_times_owners_and_modes_do_not_change_the_hash() -> None:
    def later(entry: tarfile.TarInfo) -> None:
        entry.mtime, entry.uid, entry.uname, entry.mode = 1_700_000_000, 1000, "somebody", 0o600

    one, two = (
        canonical(unpack(each, LIMITS, "")) for each in (packed(("a", b"x")), packed(("a", b"x"), change=later))
    )
    assert digest(one) == digest(two)


def test_inline_text_and_an_archive_of_the_same_files_are_equal() -> None:
    assert canonical(inline({"a.py": "é"}, LIMITS, "")) == canonical(unpack(packed(("a.py", "é".encode())), LIMITS, ""))


def test_every_bad_path_of_an_inline_source_is_named() -> None:
    with pytest.raises(Refused) as refused:
        inline({"../a": "", "/b": "", "ok": ""}, LIMITS, "/data/source/inline")
    assert len(refused.value.faults) == 2
