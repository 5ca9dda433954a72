"""One network, CausalDiT, and the memory through which it looks at the past."""
