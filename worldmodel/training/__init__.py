"""Steps, optimisers, checkpoints and logs; never heard of diffusion."""
