"""Training the encoders: pairs to batches to a checkpoint (§3.5). Inference imports none of it."""
