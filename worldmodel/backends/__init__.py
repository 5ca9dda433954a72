"""How a frame is computed: the same function as rollout's, by code of different speed."""
