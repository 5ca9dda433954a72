"""worldmodel: play, record and train dreamed worlds. The public names live here."""
