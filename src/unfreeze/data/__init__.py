"""From an archive to arrays: extraction, decoding, labels, splits."""
