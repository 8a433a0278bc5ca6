"""What of ``/v1`` is about to go, as data: who calls it is told in time, and where to ask instead.

Read by `app.py`. `Deprecation` is RFC 9745's header, `Sunset` RFC 8594's. A test holds ``deprecated`` in
`schemas/openapi.json` to this table.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from werkzeug.http import http_date


@dataclass(frozen=True)
class Deprecated:
    """An operation that is about to go, or has gone."""

    since: datetime
    """From when on nobody should begin to use it."""
    sunset: datetime
    """When it goes."""
    instead: str
    """The path, or the document, that says what to use."""
    is_gone: bool = False
    """Whether it is answered with 410."""

    def headers(self) -> dict[str, str]:
        """Return what is added to every answer of it."""
        return {
            "Deprecation": f"@{int(self.since.timestamp())}",
            "Sunset": http_date(self.sunset),
            "Link": f'<{self.instead}>; rel="successor-version"',
        }


DEPRECATED: Mapping[str, Deprecated] = {}
"""By `operationId`."""
