"""The guide as it is typed: its blocks are run, its facts are compared with the code."""
