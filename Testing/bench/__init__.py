"""Benchmark of DeepRegistration beside published registration tools: ``python -m bench`` (see README.md)."""
