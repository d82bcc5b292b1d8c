"""What the plugin tells of itself over HTTP: metrics, liveness, readiness.

Loaded only once the plugin is registered, or its first second is over: its libraries are no part of
a pod's start. Nothing of the plugin knows of it; it reads what the parts hold in plain sight.
"""
