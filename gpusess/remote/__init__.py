"""SSH connections to instances, with host keys that are known before the first byte is sent.

`ssh.py` connects and runs commands; `keys.py` mints keys and writes the command line of the real `ssh`.
Nothing here knows a provider.
"""
