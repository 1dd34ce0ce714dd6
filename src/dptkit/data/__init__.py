"""Pictures with ground truth: one file per data set, samplers, augmentation, and a generator of scenes."""
