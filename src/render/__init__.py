"""What the commands found, as documents, and the formats in which a report is written."""
