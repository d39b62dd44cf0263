"""Reports: blocks made from runs that were read, and the two ways to write them down. No input or output."""
