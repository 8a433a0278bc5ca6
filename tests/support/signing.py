"""What an outside sender does: Standard Webhooks' signature, written down anew from its specification."""

import base64
import hmac


def signed(body: bytes, at: float, *secrets: bytes, identifier: str = "msg_1") -> dict[str, str]:
    """Return the headers of a request that is signed with each of these keys."""
    timestamp = str(int(at))
    content = f"{identifier}.{timestamp}.".encode() + body
    told = [f"v1,{base64.b64encode(hmac.new(key, content, 'sha256').digest()).decode()}" for key in secrets]
    return {"webhook-id": identifier, "webhook-timestamp": timestamp, "webhook-signature": " ".join(told)}


def written(secret: bytes) -> str:
    """Return a key as it is written down."""
    return f"whsec_{base64.b64encode(secret).decode()}"
