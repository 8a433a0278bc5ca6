"""The words we share: event types and their JSON Schemas, the custom resources, the errors."""
