"""A log that is written into a text."""

import io
import json

from teeplugin.logs.setup import LogFormat, LogLevel, configure


def configured(log_format: LogFormat = "json", level: LogLevel = "info") -> io.StringIO:
    stream = io.StringIO()
    configure(log_format, level, stream)
    return stream


def objects(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]
