"""What is told to others: notifications that are owed, and how they are sent."""
