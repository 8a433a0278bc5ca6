"""``doctor``: whether everything is there that a function needs, and what to do where it is not."""

import click

from knative_lambda.client.checks import checks
from knative_lambda.client.commands.place import Place, placed
from knative_lambda.client.errors import ClientError


@click.command(short_help="Check that everything works, with a hint where it does not.")
@click.option("--no-trial", is_flag=True, help="Change nothing: try no function.")
@placed
def doctor(place: Place, no_trial: bool) -> None:  # noqa: FBT001 (click passes it by name)
    """Check cluster, Brokers, rights, registry and store, each with a hint where something is wrong.

    \b
    Examples:
      knative-lambda doctor
      knative-lambda doctor -n acme --no-trial
    """  # noqa: D301 (click's mark for lines to leave as they are)
    faults = 0
    for check in checks(place.client, place.tenant, trial=not no_trial):
        mark = "!!" if check.fault else "--" if check.unseen else "ok"
        click.echo(f"[{mark}] {check.what}: {check.unseen}".removesuffix(": "))
        if check.fault:
            faults += 1
            click.echo(f"     {check.fault}")
            if check.hint:
                click.echo(f"     hint: {check.hint}")
    if faults:
        raise ClientError("something is wrong" if faults == 1 else f"{faults} things are wrong")
