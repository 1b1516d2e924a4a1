"""Stand-ins for pre-existing embeddings, for who has none: PinSage and ItemSage spaces."""
