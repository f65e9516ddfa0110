"""What is predicted: targets, loss, scores, decisions."""
