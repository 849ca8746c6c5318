"""What all studies run on: one detector on one data set, measured in worker processes, kept on disk, evaluated."""
