"""Estimators of scikit-learn as networks, so that their exact derivative is propagated by hand from
their weights.

In: a fitted `MLPClassifier` or `LogisticRegression`, alone or behind a `StandardScaler` or
`MinMaxScaler` in a pipeline. Out: a `Network` of `Linear` layers and activations with the same
probabilities; class j is `estimator.classes_[j]`. Only attributes are read, scikit-learn is not
imported. Read on in `attack.textbook`.
"""
import numpy as np

from nn.layers.activation import Sigmoid, Softmax, Tanh
from nn.layers.linear import Linear
from nn.layers.piecewise import ReLU
from nn.network import Network

ACTIVATIONS = {"identity": None, "logistic": Sigmoid, "tanh": Tanh, "relu": ReLU}


def from_sklearn(estimator):
    """The `Network` of a fitted classifier; its `probabilities` are the estimator's
    `predict_proba`.

    Two classes, for which scikit-learn has one output z, get the logits −z/2 and z/2. Weights stay
    in their precision. TypeError for an estimator of another kind, ValueError for one that is not
    fitted or has several labels a sample.
    """
    stages = [stage for _, stage in getattr(estimator, "steps", [(None, estimator)])
              if stage not in (None, "passthrough")]
    *scalers, last = stages
    kind = type(last).__name__
    if kind not in _READERS:
        known = ", ".join(_READERS)
        raise TypeError(f"{kind} is none of the estimators we know ({known})")
    if not hasattr(last, "classes_"):
        raise ValueError(f"{kind} is not fitted: call fit() first")
    matrices, activation = _READERS[kind](last)
    for scaler in reversed(scalers):
        matrices[0] = _with_scaler(matrices[0], scaler)
    weight, bias = matrices[-1]
    if len(weight) == 1:
        matrices[-1] = (np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2)
    return _network(matrices, activation)


def _network(matrices, activation):
    """The `Network` of [(weight, bias), …] with an activation between them and a softmax behind."""
    layers = {}
    for number, (weight, bias) in enumerate(matrices, 1):
        layer = Linear(weight.shape[1], len(weight))
        layer.parameters = {"weight": np.array(weight, order="C"), "bias": np.array(bias)}
        layers[f"fc{number}"] = layer
        if number < len(matrices) and ACTIVATIONS[activation]:
            layers[f"{activation}{number}"] = ACTIVATIONS[activation]()
    features = matrices[0][0].shape[1]
    return Network({**layers, "softmax": Softmax()}, (features,))


def _perceptron(estimator):
    output = estimator.out_activation_
    several = output == "logistic" and estimator.n_outputs_ > 1
    if output not in ("softmax", "logistic") or several:
        raise ValueError("MLPClassifier must give one label a sample; its outputs are "
                         f"{estimator.n_outputs_} of {output!r}")
    matrices = [(w.T, b) for w, b in zip(estimator.coefs_, estimator.intercepts_)]
    return matrices, estimator.activation


def _regression(estimator):
    one_against_rest = (getattr(estimator, "multi_class", "auto") == "ovr"
                        or estimator.solver == "liblinear")
    if len(estimator.classes_) > 2 and one_against_rest:
        raise ValueError("LogisticRegression with one classifier against the rest has no softmax; "
                         "fit it multinomial")
    return [(estimator.coef_, estimator.intercept_)], "identity"


_READERS = {"MLPClassifier": _perceptron, "LogisticRegression": _regression}


def _with_scaler(matrix, scaler):
    """The first layer (weight, bias) with a scaler before it folded in."""
    weight, bias = matrix
    kind = type(scaler).__name__
    if kind == "StandardScaler":
        factor = 1 / scaler.scale_ if scaler.with_std else np.ones(weight.shape[1])
        shift = -scaler.mean_ * factor if scaler.with_mean else np.zeros(weight.shape[1])
    elif kind == "MinMaxScaler" and not scaler.clip:
        factor, shift = scaler.scale_, scaler.min_
    else:
        raise TypeError(f"{kind} before the classifier is not supported, only StandardScaler and "
                        "MinMaxScaler without clip")
    return weight * factor, bias + weight @ shift
