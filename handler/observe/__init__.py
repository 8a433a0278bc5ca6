"""What people see of the service: log lines, metrics, spans."""
