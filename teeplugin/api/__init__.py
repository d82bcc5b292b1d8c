"""The kubelet's interfaces, generated from protos/ by `nox -s api`; never edited."""
