"""The status page under ``/ui``: what ``/v1`` knows, for whoever looks with a browser. It changes nothing."""
