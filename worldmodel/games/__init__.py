"""Ground truth: adapters of real games to Env, deterministic from a seed, and the players that walk them."""
