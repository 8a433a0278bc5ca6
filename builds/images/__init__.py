"""Images and the registries they lie in."""
