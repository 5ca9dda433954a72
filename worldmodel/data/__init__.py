"""Episodes on disk: video, actions and meta, written by a Recorder and read back as arrays, clips or an Env."""
