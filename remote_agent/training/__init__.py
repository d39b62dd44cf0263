"""Training: the data as the model sees it, TRL's trainers, checkpoints, and the collapse guard."""
