"""Estimators of scikit-learn as networks: the same probabilities and classes, the exact derivative,
and digits crafted."""
import warnings

import numpy as np
import pytest
from reference import close, complex_step

from attack import craft
from nn import check_network, from_sklearn

pytest.importorskip("sklearn", reason="scikit-learn is not installed (pip install 'jsma[models]')")
from sklearn.datasets import load_digits  # noqa: E402
from sklearn.linear_model import LogisticRegression, Ridge  # noqa: E402
from sklearn.neural_network import MLPClassifier  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import MinMaxScaler, Normalizer, StandardScaler  # noqa: E402

X, Y = load_digits(return_X_y=True)
X = X / 16


def fitted(estimator, classes=10, labels=None):
    some = np.flatnonzero(classes > Y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # not converged: no matter here
        return estimator.fit(X[some][:400], (Y[some] if labels is None else labels[Y[some]])[:400])


CASES = {
    "regression": lambda: fitted(LogisticRegression(max_iter=60)),
    "two classes": lambda: fitted(LogisticRegression(), 2),
    "no intercept": lambda: fitted(LogisticRegression(fit_intercept=False, max_iter=60)),
    "relu": lambda: fitted(MLPClassifier((16, 12), max_iter=30, random_state=0)),
    "tanh": lambda: fitted(MLPClassifier(20, activation="tanh", max_iter=30, random_state=0)),
    "logistic, two classes": lambda: fitted(
        MLPClassifier(8, activation="logistic", max_iter=30, random_state=0), 2),
    "identity": lambda: fitted(
        MLPClassifier((9, 7), activation="identity", max_iter=30, random_state=0)),
    "names": lambda: fitted(LogisticRegression(max_iter=60), labels=np.array(list("zyxwvutsrq"))),
    "standard scaler": lambda: fitted(
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=60))),
    "scalers": lambda: fitted(make_pipeline(
        MinMaxScaler((-1, 2)), StandardScaler(with_mean=False), StandardScaler(with_std=False),
        MLPClassifier(9, max_iter=20, random_state=0))),
}


@pytest.mark.parametrize("name", CASES)
def test_the_same_probabilities_and_the_exact_derivative(name):
    estimator = CASES[name]()
    network, x = from_sklearn(estimator), X[400:420]
    assert network.logits(x).dtype == np.float64
    close(network.probabilities(x), estimator.predict_proba(x), 1e-12)
    np.testing.assert_array_equal(estimator.classes_[network.predict(x)], estimator.predict(x))
    step = complex_step(lambda z: network.probabilities(z), x[0])
    close(network.forward_derivative(x[:1], of="probabilities")[0], step, 1e-12)
    up, down = x[0] + 1e-6 * np.eye(64), x[0] - 1e-6 * np.eye(64)
    slope = (estimator.predict_proba(up) - estimator.predict_proba(down)).T / 2e-6
    close(network.forward_derivative(x[:1], of="probabilities")[0], slope, 1e-4)
    assert check_network(network, x).verdict == "right"


def test_digits_are_crafted_for_an_estimator():
    """Most digits that the perceptron reads rightly are turned into others, and its own predict
    says so."""
    estimator = fitted(MLPClassifier(40, max_iter=200, random_state=0))
    read = np.flatnonzero(estimator.predict(X[500:540]) == Y[500:540]) + 500
    targets = (Y[read] + 1) % 10
    crafted = craft(from_sklearn(estimator), X[read], targets, max_distortion=30)
    assert crafted.success.mean() > 0.8
    predicted = estimator.predict(crafted.adversarial)
    np.testing.assert_array_equal(predicted[crafted.success], targets[crafted.success])


@pytest.mark.parametrize(("make", "kind", "said"), [
    (lambda: Ridge().fit(X[:20], Y[:20]), TypeError,
     "Ridge is none of the estimators we know (MLPClassifier, Logistic"),
    (lambda: LogisticRegression(), ValueError,
     "LogisticRegression is not fitted: call fit() first"),
    (lambda: make_pipeline(MLPClassifier()), ValueError, "MLPClassifier is not fitted"),
    (lambda: fitted(make_pipeline(Normalizer(), LogisticRegression(max_iter=20))), TypeError,
     "Normalizer before the classifier is not supported"),
    (lambda: fitted(MLPClassifier(5, max_iter=5), labels=np.eye(10, dtype=int)), ValueError,
     "one label a sample"),
])
def test_what_is_refused(make, kind, said):
    with pytest.raises(kind) as caught:
        from_sklearn(make())
    assert said in str(caught.value) and "\n" not in str(caught.value)
