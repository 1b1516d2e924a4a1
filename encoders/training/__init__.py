"""Training of the encoders, from pairs to a checkpoint (§3.5). Inference imports none of it."""
