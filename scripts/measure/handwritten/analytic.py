"""Gradients and Jacobians worked out on paper, as they are passed to scipy.optimize.

In: nothing. Out: `CASES`, right code and the mistakes that people ask about.
"""
import numpy as np

from scripts.measure.handwritten.case import family


def _rosenbrock(rng, mistake=""):
    x = rng.normal(size=5)

    def f(x):
        return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)

    gap = x[1:] - x[:-1] ** 2
    gradient = np.zeros(5)
    gradient[:-1] = -400 * x[:-1] * gap - 2 * (1 - x[:-1])
    if mistake == "= for the second half":
        gradient[1:] = 200 * gap
    else:
        gradient[1:] += 200 * gap
    if mistake == "last entry forgotten":
        gradient[-1] = 0
    if mistake == "one entry off by 2 %":
        gradient[np.abs(gradient).argmax()] *= 1.02
    return {"loss": f, "parameters": x, "gradients": gradient}


def _decay(rng, mistake=""):
    """Residuals of a fit a exp(-k t) + c at twelve times."""
    t = np.linspace(0, 3, 12)
    y = 2 * np.exp(-1.3 * t) + 0.5 + 0.05 * rng.normal(size=12)

    def residuals(p):
        a, k, c = p
        return a * np.exp(-k * t) + c - y

    def jacobian(p):
        """A row for each output."""
        a, k, _ = p
        J = np.empty((12, 3))
        J[:, 0] = np.exp(-k * t)
        J[:, 1] = -a * t * np.exp(-k * t)
        J[:, 2] = 1
        if mistake == "sign of a column":
            J[:, 1] = -J[:, 1]
        if mistake == "inner derivative forgotten":
            J[:, 1] = -a * np.exp(-k * t)
        if mistake == "of the model squared":
            J = 2 * residuals(p)[:, None] * J
        return J
    return {"f": residuals, "jacobian": jacobian, "x": np.array([1.7, 0.9, 0.2])}


def _enzyme(rng, mistake=""):
    """Michaelis-Menten: v = Vmax s / (Km + s)."""
    s = np.array([0.5, 1.0, 2.0, 4.0, 8.0])
    v = 3 * s / (1.5 + s) + 0.1 * rng.normal(size=5)

    def residuals(p):
        vmax, km = p
        return vmax * s / (km + s) - v

    def jacobian(p):
        """A row for each output."""
        vmax, km = p
        by_km = -vmax * s / (km + s) ** 2
        if mistake == "quotient rule without the square":
            by_km = -vmax * s / (km + s)
        columns = [s / (km + s), by_km]
        if mistake == "columns swapped":
            columns = columns[::-1]
        return np.stack(columns, axis=1)
    return {"f": residuals, "jacobian": jacobian, "x": np.array([2.5, 1.2])}


def _arm(rng, mistake=""):
    """The hand of a robot arm with three joints in the plane: place and angle."""
    lengths = np.array([1.0, 0.8, 0.5])

    def hand(q):
        angles = np.cumsum(q)
        return np.array([lengths @ np.cos(angles), lengths @ np.sin(angles), angles[-1]])

    def jacobian(q):
        """A row for each output."""
        angles = q if mistake == "angles not added up" else np.cumsum(q)
        x = lengths * np.cos(angles)
        y = lengths * np.sin(angles)
        J = np.array([-np.cumsum(y[::-1])[::-1], np.cumsum(x[::-1])[::-1], np.ones(3)])
        if mistake == "minus of the cosine forgotten":
            J[0] = -J[0]
        if mistake == "later links forgotten":
            J[:2] = -y, x
        return J.T if mistake == "transposed" else J
    return {"f": hand, "jacobian": jacobian, "x": rng.uniform(0.2, 1, 3)}


def _sphere(rng, mistake=""):
    def place(p):
        """x, y, z."""
        r, theta, phi = p
        return np.array([r * np.sin(theta) * np.cos(phi), r * np.sin(theta) * np.sin(phi),
                         r * np.cos(theta)])

    def jacobian(p):
        """A row for each output."""
        r, theta, phi = p
        st, ct, sp, cp = np.sin(theta), np.cos(theta), np.sin(phi), np.cos(phi)
        J = np.array([[st * cp, r * ct * cp, -r * st * sp],
                      [st * sp, r * ct * sp, r * st * cp],
                      [ct, -r * st, 0]])
        if mistake == "one entry's sine is a cosine":
            J[2, 1] = -r * ct
        if mistake == "radius forgotten":
            J[:, 2] /= r
        return J
    return {"f": place, "jacobian": jacobian, "x": np.array([2.0, 0.7, 0.4])}


def _predators(rng, mistake=""):
    """The right-hand side of Lotka and Volterra's equations, its Jacobian for a stiff solver."""
    a, b, c, d = 1.1, 0.4, 0.3, 0.9

    def rhs(u):
        prey, hunters = u
        return [a * prey - b * prey * hunters, c * prey * hunters - d * hunters]

    def jacobian(u):
        """A row for each output."""
        prey, hunters = u
        if mistake == "transposed":
            return [[a - b * hunters, c * hunters], [-b * prey, c * prey - d]]
        if mistake == "product rule in one term only":
            return [[a - b * hunters, -b * prey], [0, c * prey - d]]
        return [[a - b * hunters, -b * prey], [c * hunters, c * prey - d]]
    x = np.array([2.0, 1.5])
    return {"f": lambda u: np.array(rhs(u)), "jacobian": np.array(jacobian(x)), "x": x}


def _peak(rng, mistake=""):
    """Sum of squares of a fitted Gauss peak, its gradient by the chain rule."""
    t = np.linspace(-2, 3, 20)
    y = np.exp(-(t - 0.4) ** 2 / 2) + 0.02 * rng.normal(size=20)
    p = {"height": np.array([1.2]), "middle": np.array([0.1]), "width": np.array([0.8])}

    def shape(p):
        return np.exp(-(t - p["middle"]) ** 2 / (2 * p["width"] ** 2))

    def loss(p):
        return float(np.real(np.sum((p["height"] * shape(p) - y) ** 2)))

    bell = shape(p)
    error = 2 * (p["height"] * bell - y)
    away = t - p["middle"]
    model = {"height": bell, "middle": p["height"] * bell * away / p["width"] ** 2,
             "width": p["height"] * bell * away ** 2 / p["width"] ** 3}
    if mistake == "width squared, not cubed":
        model["width"] = p["height"] * bell * away ** 2 / p["width"] ** 2
    if mistake == "height left out":
        model["middle"] = bell * away / p["width"] ** 2
    grads = {name: np.array([error @ column]) for name, column in model.items()}
    if mistake == "averaged, the loss summed":
        grads["height"] = grads["height"] / len(t)
    return {"loss": loss, "parameters": p, "gradients": grads}


def _quadratic(rng, mistake=""):
    """x'Ax/2 - b'x where A is not symmetric."""
    A = rng.normal(size=(4, 4))
    b = rng.normal(size=4)
    x = rng.normal(size=4)
    gradient = (A + A.T) @ x / 2 - b
    if mistake == "A treated as symmetric":
        gradient = A @ x - b
    if mistake == "linear term left out":
        gradient = gradient + b
    return {"loss": lambda x: 0.5 * x @ A @ x - b @ x, "parameters": x, "gradients": gradient}


def _log_determinant(rng, mistake=""):
    """Half the deviance of a normal distribution, by its precision matrix (not symmetric here)."""
    data = rng.normal(size=(7, 3))

    def loss(p):
        K = p["K"]
        return 0.5 * np.sum((data @ K) * data) - 3.5 * np.log(np.linalg.det(K))

    K = 2 * np.eye(3) + 0.3 * rng.normal(size=(3, 3))
    inverse = np.linalg.inv(K)
    dK = 0.5 * data.T @ data - 3.5 * inverse.T
    if mistake == "inverse not transposed":
        dK = 0.5 * data.T @ data - 3.5 * inverse
    if mistake == "half forgotten":
        dK = data.T @ data - 3.5 * inverse.T
    return {"loss": loss, "parameters": {"K": K}, "gradients": {"K": dK}}


def _poisson(rng, mistake=""):
    x = rng.normal(size=(10, 2))
    counts = rng.poisson(3, size=10)
    p = [0.3 * rng.normal(size=2), np.array(0.8)]

    def deviance(p):
        eta = x @ p[0] + p[1]
        return np.sum(np.exp(eta) - counts * eta)

    error = np.exp(x @ p[0] + p[1]) - counts
    grads = [x.T @ error, error.sum()]
    if mistake == "intercept of one observation":
        grads[1] = error[0]
    if mistake == "rate not its logarithm":
        grads[0] = x.T @ (1 - counts / np.exp(x @ p[0] + p[1]))
    return {"loss": deviance, "parameters": p, "gradients": [np.asarray(g) for g in grads]}


CASES = (
    *family("Rosenbrock", "gradients", _rosenbrock, "jac of scipy's minimize", {
        "= for the second half": ("parameters", "+=", "overwrit", "add", "term"),
        "last entry forgotten": ("parameters", "last", "zero", "one entry", "1 of "),
        "one entry off by 2 %": (
            "parameters", "one entry", "single entry", "only entry", "1 of ")}),
    *family("exponential decay", "jacobian", _decay, "jac of least_squares", {
        "sign of a column": ("x", "sign", "column"),
        "inner derivative forgotten": ("x", "column", "inner", "factor"),
        "of the model squared": ("x", "row", "residual", "squared", "factor")}),
    *family("Michaelis-Menten", "jacobian", _enzyme, "jac of curve_fit", {
        "quotient rule without the square": ("x", "column", "square", "factor"),
        "columns swapped": ("x", "swapped", "column", "order", "another", "permut")}),
    *family("robot arm", "jacobian", _arm, "inverse kinematics", {
        "angles not added up": ("x", "row", "sum", "angle"),
        "minus of the cosine forgotten": ("x", "sign"),
        "later links forgotten": ("x", "sum", "missing", "term"),
        "transposed": ("x", "transpos")}),
    *family("spherical coordinates", "jacobian", _sphere, "change of variables", {
        "one entry's sine is a cosine": ("x", "one entry", "single entry", "only entry", "1 of "),
        "radius forgotten": ("x", "column", "factor", "half", "½", "0.5")}),
    *family("predators and prey", "jacobian", _predators, "jac of solve_ivp, as a list", {
        "transposed": ("x", "transpos"),
        "product rule in one term only": ("x", "zero", "missing", "one entry", "1 of ")}),
    *family("Gauss peak", "gradients", _peak, "arrays of one number, loss by float()", {
        "width squared, not cubed": ("width", "factor", "times", "scaled"),
        "height left out": ("middle", "factor", "times", "scaled"),
        "averaged, the loss summed": ("height", "divided", "factor", "averaged")}),
    *family("quadratic form", "gradients", _quadratic, "a matrix that is not symmetric", {
        "A treated as symmetric": ("parameters", "transpos", "symmetric"),
        "linear term left out": ("parameters", "term", "missing", "constant")}),
    *family("log-determinant", "gradients", _log_determinant, "likelihood of a precision matrix", {
        "inverse not transposed": ("K", "transpos"),
        "half forgotten": ("K", "half", "term", "factor", "½")}),
    *family("Poisson regression", "gradients", _poisson, "a list: weights and a number", {
        "intercept of one observation": ("1", "first sample", "batch", "sum", "observation"),
        "rate not its logarithm": ("0", "f'", "link", "factor", "logarithm")}),
)
