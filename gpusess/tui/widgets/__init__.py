"""Widgets on Textual's line API, one a file. They draw lines that pure functions made."""
