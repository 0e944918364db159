"""Whether a verdict holds when its image is changed a little: the stability strip of a run."""
