"""The pipeline: one script a stage, in the order of the data; `python -m train.world` runs them all."""
