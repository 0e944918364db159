"""What is done with a finished run: keep-lists, differences of two runs, calibration and training data from labels."""
