"""Pure folds from a run's records to what is shown, and the statistics beside them. No input or output."""
