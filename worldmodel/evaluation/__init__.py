"""Dream against reality: every score is paired with the true engine."""
