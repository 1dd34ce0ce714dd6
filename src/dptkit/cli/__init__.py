"""The command line: one file per verb. Each parses, imports what is heavy only when it runs, and calls."""
