"""The command line: words to the daemon or to a command."""
