"""The cockpit in a browser on this machine: who may come in, one app process a tab, and the page. The app
itself is the one of the terminal.
"""
