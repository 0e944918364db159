"""Pictures that look alike: perceptual hashes, pairs of two sets, clusters of one."""
