"""Sync and streaming, measured beside the tools that people use for it today."""
