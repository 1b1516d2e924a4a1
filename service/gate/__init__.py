"""What every request passes before its route: who may ask, how often, and with how much."""
