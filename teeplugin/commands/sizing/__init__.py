"""From a TA's configs.xml or manifest.txt to a pod's number; the commands `size` and `pod`.

Nothing of the daemon imports this, nor the XML parser that it brings.
"""
