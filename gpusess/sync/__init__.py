"""What differs between this machine and the instance, and the bytes that make up for it.

A tree (`CodeTree`, `FileTree`) is a list of what to send, with an id that is its content; `pack` makes the
stream. Moving the stream, and asking whether the other side has that id already, is the caller's part.
"""
