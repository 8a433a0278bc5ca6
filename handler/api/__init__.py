"""What is asked under ``/v1``: lists in pages, what may be done to a thing as it is, doing it, and watching it."""
