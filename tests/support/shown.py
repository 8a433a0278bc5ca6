"""The page as a browser shows it: the embedded mode with something of each kind, and Chromium, which looks at it."""

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import urllib3
from axe_playwright_python import base
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Error, Page, sync_playwright
from support.embedded import embedded

from knative_lambda.client import Client

NAMES = ("chromium", "chromium-browser", "google-chrome")
AXE = Path(base.__file__).with_name("axe.min.js")
CODE = "def handle(event, context):\n    return {'hello': 'you'}\n"
BACKEND = """
import pathlib, time, zipfile

def build_wheel(folder, config_settings=None, metadata_directory=None):
    while not pathlib.Path(GATE).exists():
        time.sleep(0.05)
    info = "slow-1.dist-info/"
    with zipfile.ZipFile(pathlib.Path(folder, "slow-1-py3-none-any.whl"), "w") as wheel:
        wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: slow\\nVersion: 1\\n")
        wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(info + "RECORD", "")
    return "slow-1-py3-none-any.whl"
"""
PATIENCE = 90_000
"""Milliseconds that Chromium has for anything."""
CUT = "net::ERR_NETWORK_CHANGED"
PROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'


class NoBrowserError(Exception):
    """There is no Chromium on this machine."""


@dataclass
class Shop:
    """A service of a few functions."""

    url: str
    folder: Path
    client: Client = field(init=False)

    def __post_init__(self) -> None:
        self.client = Client.at(self.url)

    def deploy(self, name: str, files: dict[str, str] | None = None, **options: Any) -> Any:
        source = {"inline": {"main.py": f"{CODE}# {name}\n", **(files or {})}}
        return self.client.deploy("demo", name, "python", source, **options)

    def begin(self, name: str) -> str:
        """Have a function built until `let_go`, and return its build once that is under way and has said something."""
        gate = f"GATE = {str(self.folder / name)!r}\n"
        self.deploy(
            name,
            {"requirements.txt": "./slow\n", "slow/pyproject.toml": PROJECT, "slow/backend.py": gate + BACKEND},
        )
        return str(until(lambda: self._running(name)))

    def let_go(self, name: str) -> None:
        (self.folder / name).touch()

    def _running(self, name: str) -> str:
        for build in self.client.builds("demo", name):
            if build.phase == "Running":
                log = urllib3.request("GET", f"{self.url}/ui/demo/builds/{build.name}/log").data
                return build.name if b"metadata" in log else ""
        return ""

    def build(self, name: str) -> str:
        return self.client.builds("demo", name)[0].name


def until(look: Callable[[], Any], seconds: float = 90) -> Any:
    """Return what `look` finds, once it finds something."""
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, f"it was not found, {found!r} was"
        time.sleep(0.05)
    return found


@contextlib.contextmanager
def shop(folder: Path) -> Iterator[Shop]:
    """Yield a service with functions that are ready, one that failed, and an event that was refused."""
    with embedded(folder) as url:
        made = Shop(url, folder)
        sent = {name: made.deploy(name) for name in ("checkout", "hello", "thumbnails")}
        made.deploy("invoices", {"requirements.txt": "no such thing\n"})
        for name, each in sent.items():
            made.client.wait("demo", name, each)
        until(lambda: [build for build in made.client.builds("demo", "invoices") if build.phase == "Failed"])
        event = {"ce-id": "7", "ce-source": "/shop", "ce-type": "dev.knative-lambda.build.start"}
        headers = event | {"ce-specversion": "1.0", "content-type": "application/json"}
        urllib3.request("POST", f"{url}/knative-lambda/default", body=b'{"tenant": "demo"}', headers=headers)
        until(lambda: made.client.letters("knative-lambda"))
        yield made


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Yield the machine's Chromium; raise `NoBrowserError` where it has none."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        raise NoBrowserError("there is no Chromium here: tests/page/requirements.sh installs it")
    with sync_playwright() as started:
        unboxed = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = started.chromium.launch(
            executable_path=found, args=[*unboxed, "--disable-dev-shm-usage"], timeout=PATIENCE
        )
        yield browser
        browser.close()


@dataclass
class Look:
    """A page in a window, and all that its browser complained of or asked elsewhere."""

    shop: Shop
    context: BrowserContext
    complaints: list[str] = field(default_factory=list)
    asked: set[str] = field(default_factory=set)
    page: Page = field(init=False)
    _cut: bool = False

    def __post_init__(self) -> None:
        self.page = self.context.new_page()
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.asked.add(request.url))

    def at(self, path: str) -> Page:
        """Open a page; again where the machine's network has changed meanwhile, and Chromium has cut what it loaded."""
        while True:
            self._cut = False
            try:
                self.page.goto(self.shop.url + path)
            except Error as error:
                if CUT not in str(error):
                    raise
                continue
            if not self._cut:
                return self.page

    def _hear(self, message: ConsoleMessage) -> None:
        if CUT in message.text:
            self._cut = True
        else:
            self.complaints.append(message.text)


@contextlib.contextmanager
def window(browser: Browser, shop: Shop, width: int = 1100, **options: Any) -> Iterator[Look]:
    """Yield a window of this many pixels in width."""
    context = browser.new_context(viewport={"width": width, "height": 800}, **options)
    context.set_default_timeout(PATIENCE)
    yield Look(shop, context)
    context.close()
