"""The pipeline: one script a stage, in the order of the data; `python -m train.world` runs them all."""

import os

# Read by OpenMP when torch is loaded: beside any busy neighbour, threads that spin at their barriers made a training
# step five times slower (10 s instead of 2 on two cores).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")
