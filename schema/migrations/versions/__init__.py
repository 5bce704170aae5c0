"""The revisions, oldest first by number; each runs the SQL files of the same name."""
