"""Window, keys and the play loop; no torch in sight."""
