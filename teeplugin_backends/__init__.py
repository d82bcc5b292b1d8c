"""The TEEs that teeplugin can ask: one abstract backend and its implementations."""
