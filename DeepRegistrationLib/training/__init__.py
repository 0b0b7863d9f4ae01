"""Training of the networks that methods use."""
