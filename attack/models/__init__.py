"""Models that are not ours, each as a model that can be attacked: `adapters` (torch, jax, ensembles), `oracle` (only the
answers are seen).
"""
