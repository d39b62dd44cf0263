"""What the screens are made of: each pane shows one side of a session or of its run."""
