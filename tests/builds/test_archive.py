"""Untrusted archives: what comes through is regular files with decent names, and nothing else."""

import gzip
import io
import tarfile
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knative_lambda.builds.inputs.archive import File, Limits, canonical, inline, pack, unpack
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
    ids=["nothing", "two bytes", "no gzip", "no tar", "cut", "no files"],
)
def test_what_is_no_whole_archive_is_refused(archive: bytes) -> None:
    assert faults(archive)


def test_an_archive_that_is_damaged_in_the_middle_does_not_lose_its_tail_in_silence() -> None:
    plain = bytearray(gzip.decompress(packed(("a", b"x" * 600), ("b", b"y" * 600))))
    second = plain.index(b"b\0")
    plain[second : second + 20] = b"\xff" * 20
    assert "damaged" in faults(gzip.compress(bytes(plain)))[0]


def header(name: str, body: bytes = b"", kind: bytes = tarfile.REGTYPE) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size, entry.type = len(body), kind
    return entry.tobuf(tarfile.GNU_FORMAT) + body + b"\0" * (-len(body) % tarfile.BLOCKSIZE)


def record(text: bytes) -> bytes:
    """Return a pax header's record; its length counts its own digits."""
    bare = len(text) + 2
    return b"%d %s\n" % (next(n for n in range(bare, bare + 4) if n == bare + len(str(n))), text)


END = b"\0" * 1024


@pytest.mark.parametrize("kind", [b"L", b"K", b"x", b"g"])
def test_a_chain_of_extension_headers_is_refused(kind: bytes) -> None:
    """Each header of a chain costs a reader that recurses a frame; this one refuses the second."""
    body = {b"x": record(b"path=abc"), b"g": record(b"about=me")}.get(kind, b"a\0")
    assert "twice" in faults(gzip.compress(header("p", body, kind) * 1000 + header("a") + END))[0]


@pytest.mark.parametrize(
    "text",
    [
        b"size=-512",
        b"size=99999999999999999999999",
        b"size=x",
        b"path=",
        b"path=../x",
        b"path=a\0b",
        b"GNU.sparse.major=1",
        b"GNU.sparse.map=x",
        b"GNU.sparse.name=../../x",
        b"hdrcharset=BINARY",
        b"=x",
        b"",
    ],
)
def test_a_pax_header_leads_nowhere(text: bytes) -> None:
    archive = gzip.compress(header("p", record(text), b"x") + header("a", b"abc") + END)
    if text == b"hdrcharset=BINARY":
        assert unpack(archive, LIMITS, "") == {"a": File(b"abc")}
    else:
        assert faults(archive)


def test_a_global_header_names_no_entry() -> None:
    assert faults(gzip.compress(header("p", record(b"path=a"), b"g") + header("b") + END))
    comment = header("p", record(b"comment=x"), b"g")
    assert unpack(gzip.compress(comment + header("b") + END), LIMITS, "") == {"b": File(b"")}


def test_an_extension_header_without_its_entry_is_refused() -> None:
    assert "missing" in faults(gzip.compress(header("a") + header("p", b"b\0", b"L") + END))[0]


def test_a_large_extension_header_is_refused() -> None:
    bulk = gzip.compress(header("p", b"x" * 1_100_000, b"x") + header("a") + END)
    with pytest.raises(Refused, match="more than 1048576 bytes"):
        unpack(bulk, Limits(), "")


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_come_through_in_every_form(form: int) -> None:
    name = "/".join(["folder" * 10] * 3) + "/file.py"
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", format=form) as tar:
        entry = tarfile.TarInfo(name)
        entry.size = 3
        tar.addfile(entry, io.BytesIO(b"abc"))
    assert unpack(out.getvalue(), LIMITS, "") == {name: File(b"abc")}


def test_the_beginning_of_a_path_counts_in_posix_form_alone_and_elsewhere_it_is_refused() -> None:
    """Where another form holds other things, some readers take them for the path's beginning."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        tar.addfile(tarfile.TarInfo(LONG))
    plain = out.getvalue()
    assert list(unpack(gzip.compress(plain), LIMITS, "")) == [LONG]
    turned = plain.replace(b"ustar\0", b"\0ratsu", 1)  # its checksum is the same
    assert "two meanings" in faults(gzip.compress(turned))[0]


def test_what_follows_the_end_does_not_pass_in_silence() -> None:
    plain = gzip.decompress(packed(("a", b"x")))
    assert unpack(gzip.compress(plain + END), LIMITS, "") == {"a": File(b"x")}
    assert "damaged" in faults(gzip.compress(plain + b"more"))[0]
    assert "damaged" in faults(gzip.compress(plain + header("b")))[0]


def test_what_is_to_be_held_is_told_before_it_is() -> None:
    told: list[int] = []
    unpack(packed(("a", b"x" * 100_000)), LIMITS, "", told.append)
    assert max(told) >= 100_000


@given(st.binary(max_size=3000))
def test_no_bytes_escape_as_anything_but_a_refusal(noise: bytes) -> None:
    for archive in (noise, gzip.compress(noise)):
        with pytest.raises(ProductError):
            unpack(archive, LIMITS, "")


LONG = "folder/" * 20 + "file"
REAL = [
    (form, [("main.py", b"print()"), (LONG, b"y" * 700), ("é.txt", b"")])
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
]
PIECES = [
    header("p", record(b"path=abc"), b"x"),
    header("p", record(b"size=10"), b"x"),
    header("p", record(b"GNU.sparse.major=1"), b"x"),
    header("p", record(b"comment=x"), b"g"),
    header("p", b"long\0", b"L"),
    header("p", b"", b"S"),
    header("p", b"", b"2"),
    header("p/", b"", b"5"),
    header("q", b"body"),
    END[:512],
]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Return a real archive with bytes changed, and with blocks doubled, put in, moved or left out."""
    form, entries = draw(st.sampled_from(REAL))
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for name, body in entries:
            entry = tarfile.TarInfo(name)
            entry.size = len(body)
            tar.addfile(entry, io.BytesIO(body))
    plain = out.getvalue().rstrip(b"\0")
    blocks = [plain[at : at + 512].ljust(512, b"\0") for at in range(0, len(plain), 512)]
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(blocks) - 1))
        blocks[at:at] = draw(st.sampled_from([[blocks[at]] * 2, *([piece] for piece in PIECES)]))
    if draw(st.booleans()):
        del blocks[draw(st.integers(0, len(blocks) - 1))]
    plain = bytearray(b"".join(blocks) + END)
    for _ in range(draw(st.integers(0, 3))):
        plain[draw(st.integers(0, len(plain) - 1))] = draw(st.integers(0, 255))
    if draw(st.booleans()):  # right checksums, or no change of a header would be seen beyond them
        for at in range(0, len(plain) - 511, 512):
            if plain[at + 257 : at + 262] == b"ustar":
                plain[at + 148 : at + 156] = b" " * 8
                plain[at + 148 : at + 156] = b"%06o\0 " % sum(plain[at : at + 512])
    return bytes(plain)


@given(mutated())
def test_what_is_taken_of_a_mutated_archive_is_what_others_read_in_it(plain: bytes) -> None:
    """Anything but a refusal would be an error of ours, and a second meaning a way past a scanner."""
    try:
        found = unpack(gzip.compress(plain), LIMITS, "")
    except Refused:
        return
    with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
        others = {
            member.name.removeprefix("./"): reader.read()
            for member in tar
            if member.isreg() and (reader := tar.extractfile(member))
        }
    assert {path: file.body for path, file in found.items()} == others


names = st.text("abc/.", min_size=1, max_size=8)


@given(st.dictionaries(names, st.binary(max_size=50), max_size=6), st.randoms())
def test_equal_files_have_equal_hashes_in_whatever_order_they_come(files: dict[str, bytes], random: object) -> None:
    entries = list(files.items())
    random.shuffle(entries)  # type: ignore[attr-defined]
    try:
        found = unpack(packed(*entries), LIMITS, "")
    except Refused:
        return
    again = unpack(pack(found).body, LIMITS, "")
    assert pack(again).digest == pack(found).digest
    assert {name: file.body for name, file in found.items()} == {
        name.removeprefix("./"): body for name, body in files.items()
    }


def test_times_owners_and_modes_do_not_change_the_hash() -> None:
    def later(entry: tarfile.TarInfo) -> None:
        entry.mtime, entry.uid, entry.uname, entry.mode = 1_700_000_000, 1000, "somebody", 0o600

    one, two = (pack(unpack(each, LIMITS, "")) for each in (packed(("a", b"x")), packed(("a", b"x"), change=later)))
    assert one == two


def test_what_is_packed_is_the_canonical_tar_and_its_hash_is_the_same_for_ever() -> None:
    files = {
        "lib/é.py": File("print('é')\n".encode()),
        "run": File(b"#!/bin/sh\n", executable=True),
        "z": File(b"z" * 9000),
    }
    known = pack(files)
    assert gzip.decompress(known.body) == canonical(files)
    assert known.digest == "sha256:6bd51a00c4329835a86fed18a9bdefa2877174f964e86d7fb59223e5fae81aba"


def test_inline_text_and_an_archive_of_the_same_files_are_equal() -> None:
    assert canonical(inline({"a.py": "é"}, LIMITS, "")) == canonical(unpack(packed(("a.py", "é".encode())), LIMITS, ""))


def test_every_bad_path_of_an_inline_source_is_named() -> None:
    with pytest.raises(Refused) as refused:
        inline({"../a": "", "/b": "", "ok": ""}, LIMITS, "/data/source/inline")
    assert len(refused.value.faults) == 2
