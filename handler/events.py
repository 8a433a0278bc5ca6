"""An event as the handlers see it: what is left of a CloudEvent once the gate has let it in.

Made by `intake.py`, read by every use case. The CloudEvents SDK ends at the gate.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Event:
    """One CloudEvent 1.0 whose attributes and data have been checked.

    `type` is the canonical one: an alias has been translated, its payload with it, and `received_type` says what came.
    """

    id: str
    source: str
    type: str
    data: Any
    time: datetime | None = None
    subject: str = ""
    received_type: str = ""
    stored: str = ""
    """The key of the source that its sender is known to keep, where it is of an older family; "" for none."""
    extensions: Mapping[str, str | int | bool] = field(default_factory=dict)
