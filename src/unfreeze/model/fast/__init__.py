"""Speed behind one door, `for_inference`."""
