"""Lets `python -m teeplugin` be the program `tee-device-plugin`."""

import sys

from teeplugin.cli import main

sys.exit(main())
