"""Models that are not ours, each as a model that can be attacked: `torch` and `jax` (`answers` in
the precision of the question, steady, logits or probabilities), `ensemble`, and `oracle` (only the
answers are seen). A scikit-learn estimator becomes a network with `nn.from_sklearn`.
"""
