"""Engines: what turns prompts into completions. One module each; heavy libraries are imported inside them."""
