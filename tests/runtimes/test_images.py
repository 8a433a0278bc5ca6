"""What the Dockerfiles in the runtimes' folders promise to the builders, which take them as they are."""

from pathlib import Path

import pytest
from support.wrappers import RUNTIMES

from knative_lambda.builds.dependencies import RECIPE
from knative_lambda.builds.inputs import source

NUMERIC_USER = "USER 65532:65532"


def instructions(path: Path) -> list[str]:
    text = path.read_text().replace("\\\n", "")
    return [" ".join(line.split()) for line in text.splitlines() if line.strip() and not line.startswith("#")]


@pytest.mark.parametrize("runtime", ["python", "node"])
class TestImages:
    def test_a_function_without_dependencies_is_built_without_running_anything(self, runtime: str) -> None:
        """So it is one layer upon the base, which a builder can append without looking at the rest."""
        assert instructions(RUNTIMES / runtime / "function.Dockerfile") == [
            "ARG BASE",
            "FROM ${BASE}",
            "COPY function/ /function/",
        ]

    def test_dependencies_follow_from_their_lists_alone(self, runtime: str) -> None:
        """Only the lists of packages are there when they are installed, as root; the function runs as somebody else.

        Those that are copied are those whose hash is the key of what was installed.
        """
        steps = instructions(RUNTIMES / runtime / RECIPE)
        assert steps[:2] == ["ARG BASE", "FROM ${BASE}"]
        [run] = [at for at, step in enumerate(steps) if step.startswith("RUN ")]
        copied = [step.split()[1:-1] for step in steps if step.startswith("COPY ")]
        lists = source.RUNTIMES[runtime].lists
        assert lists is not None
        assert [name for names in copied for name in names] == [source.CODE + name for name in lists.copied]
        assert "USER 0:0" in steps[:run]
        assert steps[run + 1 :] == [NUMERIC_USER]

    def test_the_base_image_holds_the_whole_wrapper_and_runs_it_as_a_user_with_a_number(self, runtime: str) -> None:
        steps = instructions(RUNTIMES / runtime / "Dockerfile")
        assert steps[:2] == ["ARG BASE", "FROM ${BASE}"]
        copied = {
            RUNTIMES / runtime / name for step in steps if step.startswith("COPY ") for name in step.split()[1:-1]
        }
        wrapper = [
            path
            for pattern in ("*.py", "*.js", "*.json")
            for path in (RUNTIMES / runtime).rglob(pattern)
            if "__pycache__" not in path.parts
        ]
        assert wrapper
        assert [path for path in wrapper if not copied & {path, *path.parents}] == []
        program = {"python": '["python3", "/runtime/serve.py"]', "node": '["node", "/runtime/serve.js"]'}[runtime]
        assert steps[-3:] == ["WORKDIR /function", NUMERIC_USER, f"ENTRYPOINT {program}"]


class TestGo:
    """A Go function's image is not the base with something upon it: the base is where it is compiled."""

    def test_a_function_is_compiled_upon_the_base_and_then_alone(self) -> None:
        steps = instructions(RUNTIMES / "go" / "function.Dockerfile")
        assert steps[:2] == ["ARG BASE", "FROM ${BASE} AS dependencies"]
        final = steps[steps.index("FROM scratch") + 1 :]
        assert not [step for step in final if step.startswith("RUN ")]
        assert final[-4:] == [
            "COPY function/ /function/",
            "WORKDIR /function",
            NUMERIC_USER,
            'ENTRYPOINT ["/runtime/serve"]',
        ]

    def test_a_change_of_code_keeps_the_layer_of_modules(self) -> None:
        """Modules are fetched where nothing of the code is but the lists, and compiled upon that."""
        steps = instructions(RUNTIMES / "go" / "function.Dockerfile")
        assert [step for step in steps if not step.startswith("ARG")][1:4] == [
            "COPY entrypoint function/go.mod* function/go.sum* /modules/",
            'RUN ["/runtime/bin/compile", "/modules"]',
            "FROM dependencies AS compiled",
        ]

    def test_nothing_needs_a_shell(self) -> None:
        """So the base may be the toolchain alone."""
        for path in (RUNTIMES / "go").glob("*Dockerfile"):
            assert all(step.startswith("RUN [") for step in instructions(path) if step.startswith("RUN"))

    def test_the_base_image_holds_the_wrapper_and_what_compiles_it(self) -> None:
        steps = instructions(RUNTIMES / "go" / "Dockerfile")
        assert steps[:2] == ["ARG BASE", "FROM ${BASE}"]
        copied = [name for step in steps if step.startswith("COPY ") for name in step.split()[1:-1]]
        assert copied == ["go.mod", "*.go", "compile/", "sample/", "passwd"]
