"""Lets `python -m teeplugin`, and the one-file executable, be the program `tee-device-plugin`."""

import sys

from teeplugin.cli.main import main


def run() -> None:
    """Run the program and end the process with its exit status."""
    sys.exit(main())


if __name__ == "__main__":
    run()
