"""The embedded mode: the same service without a cluster."""
