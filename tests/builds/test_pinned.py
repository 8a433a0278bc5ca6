"""Whether the same Dockerfile is the same image tomorrow: only where it names every image by digest."""

import pytest

from knative_lambda.builds.images.pinned import is_pinned

ONE = "alpine@sha256:" + "1" * 64
TWO = "registry:5000/team/tools:1.2@sha256:" + "2" * 64


@pytest.mark.parametrize(
    "lines",
    [
        (f"FROM {ONE}",),
        ("FROM scratch", "COPY . /"),
        (f"from {ONE} as Build", f"FROM {TWO}", "COPY --from=build /x /x", "COPY --from=0 /y /y"),
        (f"FROM {ONE} AS build", "FROM build", "RUN true"),
        (f"FROM --platform=linux/amd64 {ONE}",),
        (f"ARG VERSION=1\nFROM {ONE}", "ARG VERSION", "RUN echo $VERSION"),
        ("# FROM alpine", f"FROM \\\n  # a word in between\n  {ONE} \\\n  AS build"),
        (f"FROM {ONE}", f"COPY --chown=1 --from={TWO} /x /x"),
        (f"FROM {ONE}", f"RUN --mount=type=bind,from={TWO},target=/x true"),
        (f"FROM {ONE}", "RUN echo FROM alpine && echo --target=alpine"),
        (f"FROM {ONE}\r",),
    ],
)
def test_an_image_of_digests_and_stages_is_the_same_tomorrow(lines: tuple[str, ...]) -> None:
    assert is_pinned("\n".join(lines).encode())


@pytest.mark.parametrize(
    "lines",
    [
        ("FROM alpine",),
        ("FROM alpine:3.20",),
        ("",),
        ("RUN true",),
        ("ARG BASE", "FROM $BASE"),
        (f"ARG BASE={ONE}", "FROM ${BASE}"),
        (f"ARG SUM={'1' * 64}", "FROM alpine@sha256:$SUM"),
        (f"FROM {ONE} AS build", "FROM later", f"FROM {ONE} AS later"),
        (f"FROM {ONE}", "FROM alpine AS last"),
        (f"FROM {ONE}", "COPY --from=alpine /x /x"),
        (f"FROM {ONE}", "COPY --from=1 /x /x"),
        (f"FROM {ONE}", "COPY \\\n --from=alpine /x /x"),
        (f"FROM {ONE}", "RUN --mount=type=bind,from=alpine,target=/x true"),
        (f"FROM {ONE}", "RUN --mount=type=bind,source=/,from=$BASE true"),
        (f"FROM {ONE}", "RUN <<END", "FROM scratch AS alpine", "END", "FROM alpine"),
        ("# syntax=docker/dockerfile:1", "# escape=`", f"FROM {ONE}", "COPY `", "--from=alpine /x /x"),
        ("# escape=`", f"FROM {ONE}", "COPY `", "--from=alpine /x /x"),
        (f"FROM {ONE} what is this",),
        ("FROM",),
        ("FROM\talpine",),
        (f"FROM {ONE}", "COPY\t--from=alpine /x /x"),
        (f"FROM {ONE}", "ONBUILD COPY --from=alpine /x /x"),
        (f"FROM {ONE} AS one", "# not continued \\", "FROM alpine", "FROM one"),
        (f"FROM {ONE} AS one", "RUN true \\", "# nor this \\", "", "FROM alpine"),
        ("\ufeffFROM alpine AS one", "FROM scratch"),
        (f"FROM alpine@sha256:{'1' * 63}",),
    ],
)
def test_what_may_be_another_image_tomorrow_or_cannot_be_told_is_not(lines: tuple[str, ...]) -> None:
    assert not is_pinned("\n".join(lines).encode())
