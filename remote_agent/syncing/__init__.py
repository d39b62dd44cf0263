"""The instance's half of syncing: one process a connection that takes trees and blocks, and gives blocks.

Everything that arrives is held against its SHA-256 before it counts, and takes its name only when it is
whole. Standard library only; zstd is used where the instance's Python has it. Who asks for what is the other
side's decision; nothing here reads a spec or knows a session.
"""
