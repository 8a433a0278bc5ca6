"""What to tell the sender of several events at once, when some of them failed.

Called by `intake.py` for a batch that does not pass the gate, and by `app.py` for one whose handling failed in parts.
Handling an event twice is harmless, so the whole batch may be asked for again.
"""

from collections.abc import Sequence

from knative_lambda.schemas.errors import Fault, Malformed, Refused, Temporary, TooLarge


def together(errors: Sequence[tuple[int, Exception]]) -> Exception:
    """Return the one error that stands for all, each with the index of its event in the batch.

    A temporary one comes before a bug, and a bug before a refusal: whatever can still succeed is sent again. The
    faults of all that was refused are told together, their places prefixed with ``/<index>``.
    """
    temporary = [error for _, error in errors if isinstance(error, Temporary)]
    if temporary:
        return max(temporary, key=lambda error: error.retry_after)
    bugs = [error for _, error in errors if not isinstance(error, Refused)]
    if bugs:
        return bugs[0]
    refused = [(index, error) for index, error in errors if isinstance(error, Refused)]
    faults = [
        Fault(f"/{index}/{fault.where.lstrip('/')}", fault.message)
        for index, error in refused
        for fault in error.faults
    ]
    return _kind([error for _, error in refused])(faults)


def _kind(errors: Sequence[Refused]) -> type[Refused]:
    if any(isinstance(error, Malformed) for error in errors):
        return Malformed
    return TooLarge if all(isinstance(error, TooLarge) for error in errors) else Refused
