"""The page beside the pictures' folder: the run writes between two marks, all the rest is a person's."""

from pathlib import Path

BEGIN, END = "<!-- written by make bench -->", "<!-- until here -->"


def write(out: Path, text: str, pictures: list[tuple[str, str]]) -> None:
    """Write the table and the pictures (file without its end, and what it shows) into `<out>.md`, where that exists."""
    found = out.with_suffix(".md")
    if found.is_file():
        shown = "\n\n".join(f"![{what}]({out.name}/{name}.png)" for name, what in pictures)
        found.write_text(replaced(found.read_text(), f"{text}\n\n{shown}"))


def replaced(page: str, text: str) -> str:
    """Return the page with this text between its marks; a page without them stays as it is."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}" if begin and end else page
