"""The SDK as whoever installs the package has it: typed to its last word, and in nobody's types but its own."""

import inspect
import re
import subprocess
import sys
import sysconfig
import typing
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.embedded import embedded

from knative_lambda import client
from knative_lambda.client.http import Http

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "command.md"
EMBEDDED = "http://127.0.0.1:8480"
"""Where the page's program expects the service."""
VENDORS = ("boto3", "click", "cloudevents", "flask", "kubernetes", "requests", "yaml")


def program() -> str:
    """Return the program that the page shows."""
    [found] = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    return str(found)


class Installed:
    """An environment that has the wheel, as pip would unpack it, and what the product needs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        environment = {"PATH": "/usr/bin:/bin"}
        build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
        subprocess.run(build, cwd=ROOT, env=environment, capture_output=True, check=True)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
        self.python = folder / "venv" / "bin" / "python"
        self.site = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder / "venv")}))
        [wheel] = folder.glob("*.whl")
        zipfile.ZipFile(wheel).extractall(self.site)
        (self.site / "needed.pth").write_text(sysconfig.get_path("purelib"))

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a program where nothing else names the package."""
        return subprocess.run(
            arguments, cwd=self._folder, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False
        )

    def mypy(self, text: str) -> list[str]:
        """Return what `mypy --strict` has to say of a program."""
        (self._folder / "program.py").write_text(text)
        options = ("--strict", "--config-file=", "--cache-dir=cache", "--no-error-summary")
        done = self.run(sys.executable, "-m", "mypy", *options, "--python-executable", self.python, "program.py")
        return (done.stdout + done.stderr).splitlines()


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(tmp_path_factory.mktemp("installed"))


def test_the_program_on_the_page_does_what_it_says(installed: Installed, tmp_path: Path) -> None:
    with embedded(tmp_path) as url:
        assert EMBEDDED in program()
        (tmp_path / "program.py").write_text(program().replace(EMBEDDED, url))
        done = installed.run(installed.python, tmp_path / "program.py")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-2:] == ["greeter answers, built by local", "{'hello': 'ada'}"]


def test_strict_mypy_has_nothing_to_say_of_it_and_much_of_one_that_is_wrong(installed: Installed) -> None:
    """Once the mark is gone that says that the package has types, there are none, and the wrong one passes for that."""
    assert installed.mypy(program()) == []
    wrong = program().replace("function.build)", "function.bild)").replace('wait("demo", ', "wait(")
    told = "\n".join(installed.mypy(wrong))
    assert re.findall(r"\[([a-z-]+)\]$", told, re.MULTILINE) == ["call-arg", "arg-type", "attr-defined"]

    mark = installed.site / "knative_lambda" / "py.typed"
    mark.unlink()
    [first, *_] = installed.mypy(wrong)
    mark.touch()
    assert "missing library stubs or py.typed marker" in first


def parts(annotation: Any) -> Iterator[Any]:
    """Yield the classes that an annotation is made of."""
    if isinstance(annotation, list | tuple):
        for each in annotation:
            yield from parts(each)
    elif arguments := typing.get_args(annotation):
        yield from parts(typing.get_origin(annotation))
        yield from parts(arguments)
    elif isinstance(annotation, type):
        yield annotation


def annotations(thing: Any) -> Iterator[Any]:
    """Yield every annotation of a function, or of what of a class anybody may use, and the class's own bases."""
    if not isinstance(thing, type):
        yield from typing.get_type_hints(thing).values()
        return
    yield from thing.__mro__
    yield from typing.get_type_hints(thing).values()
    for name, member in inspect.getmembers(thing):
        if name.startswith("_") and name not in ("__init__", "__call__"):
            continue
        called = member.fget if isinstance(member, property) else inspect.unwrap(member)
        if inspect.isfunction(called) or inspect.ismethod(called):
            yield from typing.get_type_hints(called).values()


def named(*things: Any) -> set[type]:
    """Return each class that these name, and that those of ours name in their turn."""
    found: set[type] = set()
    waiting = list(things)
    while waiting:
        for each in (part for annotation in annotations(waiting.pop()) for part in parts(annotation)):
            if each not in found:
                found.add(each)
                waiting += [each] if each.__module__.startswith("knative_lambda.") else []
    return found


def packages(found: set[type]) -> set[str]:
    """Return where classes come from, but for the standard library."""
    return {each.__module__.partition(".")[0] for each in found} - set(sys.stdlib_module_names)


def test_what_the_sdk_names_is_its_own_or_pythons() -> None:
    """The walk does see others: where the HTTP library is spoken to, which nobody outside comes by."""
    surface = [getattr(client, name) for name in client.__all__]
    assert packages(named(*surface)) == {"knative_lambda"}
    assert Http not in named(*surface)
    assert packages(named(Http)) == {"knative_lambda", "urllib3"}


def test_what_the_sdk_returns_can_be_named_by_who_imports_it_from_the_one_place() -> None:
    surface = {getattr(client, name) for name in client.__all__}
    methods = [each for _, each in inspect.getmembers(client.Client) if inspect.isroutine(each)]
    returned = [hints.get("return") for hints in map(typing.get_type_hints, filter(inspect.isfunction, methods))]
    ours = {each for each in parts(returned) if each.__module__.startswith("knative_lambda.")}
    assert ours <= surface


def test_no_vendors_package_is_loaded_before_it_is_needed(installed: Installed) -> None:
    done = installed.run(installed.python, "-c", "import sys, knative_lambda.client; print(*sys.modules)")
    assert not {name.partition(".")[0] for name in done.stdout.split()} & set(VENDORS), done.stderr
