"""One outside effect per room; what others may ask of them stands in `handlers.commands`."""
