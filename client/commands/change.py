"""What may be wanted of a function that is there, from ``cancel`` to ``delete``."""

import click

from knative_lambda.client.commands.deploy import SECONDS, WAIT, finish
from knative_lambda.client.commands.place import BUILD, NAME, Named, Place, builds, functions, near, placed
from knative_lambda.client.commands.progress import Progress
from knative_lambda.client.errors import ClientError, NotThere, Unreachable


@click.command(short_help="Stop what is being built.")
@NAME
@click.option("--build", "-b", type=BUILD, default="", shell_complete=builds, help="Another build than the wanted one.")
@placed
def cancel(place: Place, name: str, build: str) -> None:
    """Stop what is being built for a function; what runs goes on running.

    \b
    Examples:
      knative-lambda cancel hello
    """  # noqa: D301 (click's mark for lines to leave as they are)
    place.client.cancel(place.tenant, name, build)
    click.echo(f"{name} is no longer being built")


@click.command(short_help="Build once more what has failed.")
@NAME
@WAIT
@SECONDS
@placed
def retry(place: Place, name: str, no_wait: bool, wait_timeout: float) -> None:  # noqa: FBT001 (click passes it by name)
    """Build the function's source once more, as after a fault that was not its own.

    \b
    Examples:
      knative-lambda retry hello
    """  # noqa: D301 (click's mark for lines to leave as they are)
    progress = Progress()
    sent = place.client.retry(place.tenant, name)
    if not no_wait:
        finish(place, name, sent, progress, wait_timeout)


@click.command(short_help="Run an earlier version again.")
@NAME
@click.option(
    "--build",
    "-b",
    type=BUILD,
    default="",
    shell_complete=builds,
    help="The build whose version it is [default: the one before].",
)
@WAIT
@SECONDS
@placed
def rollback(place: Place, name: str, build: str, no_wait: bool, wait_timeout: float) -> None:  # noqa: FBT001 (the same)
    """Run an earlier version again: the one before, or that of a build, from its source on record.

    \b
    Examples:
      knative-lambda rollback hello
      knative-lambda rollback hello --build hello-qs6jywaouwgnrjdd
    """  # noqa: D301 (click's mark for lines to leave as they are)
    progress = Progress()
    chosen, sent = place.client.rollback(place.tenant, name, build)
    click.echo(f"{name} goes back to {chosen.name}")
    if not no_wait:
        finish(place, name, sent, progress, wait_timeout)


@click.command(short_help="Build and deploy nothing new for now.")
@NAME
@placed
def pause(place: Place, name: str) -> None:
    """Build and deploy nothing new of a function until it is resumed; what runs goes on.

    What is being built ends. What is deployed meanwhile is recorded, and comes when the function goes on.

    \b
    Examples:
      knative-lambda pause hello
    """  # noqa: D301 (click's mark for lines to leave as they are)
    place.client.pause(place.tenant, name)
    click.echo(f"{name} is paused: what runs goes on, and what is new waits for `resume {name}`")


@click.command(short_help="Go on after a pause.")
@NAME
@WAIT
@SECONDS
@placed
def resume(place: Place, name: str, no_wait: bool, wait_timeout: float) -> None:  # noqa: FBT001 (the same)
    """Have a function that is paused go on, with its newest source and settings.

    \b
    Examples:
      knative-lambda resume hello
    """  # noqa: D301 (click's mark for lines to leave as they are)
    progress = Progress()
    sent = place.client.resume(place.tenant, name)
    if not no_wait:
        finish(place, name, sent, progress, wait_timeout)


@click.command(short_help="Remove functions.")
@click.argument("names", nargs=-1, required=True, type=Named("function"), shell_complete=functions)
@click.option("--no-wait", is_flag=True, help="End as soon as it is accepted.")
@SECONDS
@placed
def delete(place: Place, names: tuple[str, ...], no_wait: bool, wait_timeout: float) -> None:  # noqa: FBT001 (the same)
    """Remove functions with all that belongs to them; those that are there, where one is not.

    \b
    Examples:
      knative-lambda delete hello
      knative-lambda delete hello shop --no-wait
    """  # noqa: D301 (click's mark for lines to leave as they are)
    failed: list[ClientError] = []
    for name in names:
        try:
            place.client.delete(place.tenant, name)
            if not no_wait:
                place.client.wait_gone(place.tenant, name, seconds=wait_timeout)
        except Unreachable:
            raise
        except NotThere as error:
            failed.append(NotThere(str(error), near(place, {"name": name})))
        except ClientError as error:
            failed.append(error)
        else:
            click.echo(f"{name} is deleted")
    if failed:
        hints = dict.fromkeys(each.hint for each in failed if each.hint)
        raise type(failed[0])("; ".join(str(each).rstrip(".") for each in failed), "; ".join(hints))
