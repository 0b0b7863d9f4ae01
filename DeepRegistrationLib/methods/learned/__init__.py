"""Methods whose answer comes from a trained network, each run by methods/network_inference.py."""
