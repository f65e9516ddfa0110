"""unfreeze: from an archive of labelled images to a classifier, the same way every time."""
