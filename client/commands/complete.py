"""``completion``: what a shell needs to complete commands, options, and the names of functions."""

import click
from click.shell_completion import get_completion_class


@click.command(short_help="Print what completes this command in a shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what completes this command in a shell.

    \b
    Examples:
      source <(knative-lambda completion bash)
      knative-lambda completion zsh > "${fpath[1]}/_knative-lambda"
      knative-lambda completion fish > ~/.config/fish/completions/knative-lambda.fish
    """  # noqa: D301 (click's mark for lines to leave as they are)
    root = context.find_root()
    program = root.info_name or "knative-lambda"
    writer = get_completion_class(shell)
    assert writer is not None  # noqa: S101 (click has both)
    click.echo(writer(root.command, {}, program, f"_{program.replace('-', '_')}_COMPLETE".upper()).source())
