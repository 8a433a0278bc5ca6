"""``init``: a folder with the smallest function of a runtime."""

from pathlib import Path

import click

from knative_lambda.client import folders, templates
from knative_lambda.client.errors import ClientError


@click.command(short_help="Write a new function into a folder.")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--runtime", "-r", type=click.Choice(list(templates.FILES)), default="python", show_default=True)
@click.option("--name", help="The function's name [default: the folder's].")
def init(folder: Path, runtime: str, name: str | None) -> None:
    """Write a new function into a folder; nothing that is there is written over.

    \b
    Examples:
      knative-lambda init hello
      knative-lambda init hello-node --runtime node
    """  # noqa: D301 (click's mark for lines to leave as they are)
    named = folder.resolve().name if name is None else name
    if fault := folders.name_fault(named):
        raise ClientError(f"the function's name: {fault}", "name another folder, or a name with --name")
    settings = templates.SETTINGS.format(name=named, runtime=runtime)
    files = {**templates.FILES[runtime], folders.SETTINGS: settings}
    if there := [file for file in files if (folder / file).exists()]:
        raise ClientError(f"{folder / there[0]} is there already", "name another folder, or `deploy` this one")
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in files.items():
        (folder / file).write_text(text, "utf-8")
        click.echo(f"wrote {folder / file}")
