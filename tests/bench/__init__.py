"""What the plugin costs, beside its budgets: `nox -s bench`, or `python -m tests.bench`."""
