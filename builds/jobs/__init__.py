"""Builds as Jobs of the cluster: what the Pod is, what it holds, and how it ended."""
