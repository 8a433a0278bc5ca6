"""What a client may meet, each with the exit code that the command ends with.

    ClientError          1  it did not come to pass: refused, a build that failed, a function that does not answer
      Paused             1  it is recorded, and waits for a pause to end; a `deploy` that says so ends with 0
      NotThere           3  there is nothing of that name
      Unreachable        4  whoever was asked does not answer, or does not know who asks
        Away             4  it does not at the moment, and may when it is asked again
        Forbidden        4  it knows who asks, and that one may not
        NotServed        4  it answers, and does no such thing for anybody
      TimedOut           5  it goes on, and was not waited for any longer
      Stopped          130  it goes on, and whoever waited has pressed Ctrl-C

2 is the command line's own: a wrong option or argument.
"""

from typing import ClassVar


class ClientError(Exception):
    """It did not come to pass; the text says why, for a person, and `hint` what to do about it."""

    exit_code: ClassVar[int] = 1

    def __init__(self, text: str, hint: str = "") -> None:
        super().__init__(text)
        self.hint = hint


class Paused(ClientError):
    """It is on record, and comes to pass when the function is no longer paused."""


class NotThere(ClientError):
    """There is nothing of that name."""

    exit_code = 3


class Unreachable(ClientError):
    """Nobody answers, or lets in whoever asks."""

    exit_code = 4


class Away(Unreachable):
    """Nobody answers at the moment: who asks again may be answered."""


class Forbidden(Unreachable):
    """Who asks has no right to it."""


class NotServed(Unreachable):
    """Whoever was asked does no such thing."""


class TimedOut(ClientError):
    """It goes on; it was not waited for any longer."""

    exit_code = 5


class Stopped(ClientError):
    """It goes on; whoever waited for it does not want to any longer."""

    exit_code = 130
