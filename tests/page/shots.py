"""``make pictures``: the pictures of docs/page.md, made anew from a real service in a real Chromium."""

import tempfile
from pathlib import Path

from support.shown import chromium, shop, window

PICTURES = Path(__file__).parents[2] / "docs" / "page"


def main() -> None:
    """Write the pictures."""
    with tempfile.TemporaryDirectory() as folder, chromium() as browser, shop(Path(folder)) as made:
        made.begin("receipts")
        failed = f"/ui/demo/builds/{made.build('invoices')}"
        for name, path, width, scheme in (
            ("overview", "/ui/demo", 1000, "light"),
            ("phone", "/ui/demo", 360, "dark"),
            ("failed", failed, 1000, "light"),
        ):
            with window(browser, made, width, color_scheme=scheme, reduced_motion="reduce") as look:
                page = look.at(path)
                page.wait_for_selector("#pulse.well")
                page.screenshot(path=PICTURES / f"{name}.png", full_page=True)
        made.let_go("receipts")


if __name__ == "__main__":
    main()
