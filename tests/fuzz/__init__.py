"""Fuzzing of everything that reads bytes which others wrote: `python -m tests.fuzz --help`.

README.md tells how; `tests/unit/test_fuzz_corpus.py` replays what was kept.
"""
