"""What happens when an event arrives: from the HTTP door to the converged Function."""
