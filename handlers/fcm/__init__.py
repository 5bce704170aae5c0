"""Push through Firebase Cloud Messaging, HTTP v1: the nudge beside the inbox row."""
