"""How fast, against what: engines of different make on the same weights, side by side, beside the machine's limit."""
