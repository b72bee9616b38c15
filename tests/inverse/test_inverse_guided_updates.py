"""One update of every method beside its published formula, restated in NumPy with float64, for a linear network."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from tests.inverse.inverse_guided import Dense, Solving, Square
from vrjax.flow import Grid, Level, Prediction, Record, euler, sample
from vrjax.inverse import guided
from vrjax.inverse.guided._linear import ancestral, gaussian_step

RNG = np.random.default_rng(11)
W, BIAS = np.eye(3) + 0.4 * RNG.normal(size=(3, 3)), RNG.normal(size=3)  # v = W x + BIAS, W not symmetric
A, Y, NOISE, X = RNG.normal(size=(2, 3)), RNG.normal(size=2), 0.35, RNG.normal(size=3)
T, END = 0.6, 0.45
GRID = Grid(np.array([T, END]))
KEY = jax.random.key(4)
R2 = T**2 / (T**2 + (1 - T) ** 2)
JACOBIAN = np.eye(3) - T * W
V = W @ X + BIAS
X0, N = X - T * V, X + (1 - T) * V
MISSING = Y - A @ X0


def network(x, level):
    return Prediction(jnp.asarray(W, x.dtype) @ x + jnp.asarray(BIAS, x.dtype), {"norm": jnp.sum(x * x)})


def step_key():
    """The key of the first step of a run on GRID."""
    return jax.random.split(KEY, (1, 2))[0, 1]


def ran(solver=None, velocity=network):
    """The state after one step from X."""
    return np.asarray(sample(velocity, jnp.asarray(X), GRID, solver=solver, key=KEY, record=Record(())).final)


def normal(key):
    return np.asarray(jax.random.normal(key, (3,), np.float64))


def close(found, wanted, rtol=1e-9):
    np.testing.assert_allclose(found, wanted, rtol=rtol, atol=1e-12)


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def gaussian(point, direction, centre=X0):
    """The normalised step from its definition: the lowest point of its parabola over the length."""

    def value(a):
        x = point + a * direction
        return np.sum((Y - A @ x) ** 2) / (2 * NOISE**2) + np.sum((x - centre) ** 2) / (2 * R2)

    at = np.array([value(a) for a in (-1.0, 0.0, 1.0)])  # a parabola through three points
    return (at[0] - at[2]) / (2 * (at[0] - 2 * at[1] + at[2])) * direction


# ---------------------------------------------------------------------------------------------------------- velocities


def correction(covariance):
    """`t / (1 - t) J^T A^T (A C A^T + noise^2 I)^-1 (y - A x0)`."""
    gram = A @ covariance @ A.T
    gram = (gram + gram.T) / 2 + NOISE**2 * np.eye(2)
    return T / (1 - T) * JACOBIAN.T @ A.T @ np.linalg.solve(gram, MISSING)


def test_velocities():
    gamma = np.sqrt((1 - T) / (T**2 + (1 - T) ** 2))
    tweedie = T**2 / (1 - T) * JACOBIAN
    wide = 4 * T**2 / (T**2 + 4 * (1 - T) ** 2)
    for make, wanted in (
        (lambda: guided.pigdm(network, Dense(A), Y, NOISE), correction(R2 * np.eye(3))),
        (lambda: guided.pigdm(network, Solving(A), Y, NOISE, prior_variance=4.0), correction(wide * np.eye(3))),
        (lambda: guided.pigdm(network, Dense(A), Y, NOISE, weight=lambda l: l.sigma), T * correction(R2 * np.eye(3))),
        (lambda: guided.ot_ode(network, Dense(A), Y, NOISE), correction(R2 * np.eye(3))),
        (lambda: guided.ot_ode(network, Dense(A), Y, NOISE, gamma="gamma_t"), gamma * correction(R2 * np.eye(3))),
        (lambda: guided.tmpd(network, Dense(A), Y, NOISE), correction(tweedie)),
    ):
        close(ran(euler(), make()), X + (END - T) * (V - wanted))


def test_tmpd_by_cg_is_the_same():
    """CG needs a positive definite matrix: a network near the identity of noise, whose Jacobian is not symmetric."""
    skew = 0.4 * np.eye(3) + 0.05 * W
    velocity = lambda x, level: jnp.asarray(skew) @ x
    at = (jnp.asarray(X), Level(jnp.asarray(T), jnp.asarray(1000 * T)))
    one, other = (guided.tmpd(velocity, Dense(A), Y, NOISE, explicit=e)(*at).v for e in (True, False))
    close(other, one, rtol=1e-6)


def test_ot_ode_starts():
    noise = RNG.normal(size=3)
    close(guided.ot_ode_start(Dense(A), Y, jnp.asarray(noise)), 0.2 * A.T @ Y + 0.8 * noise)
    grid = guided.ot_ode_grid()
    close(grid.sigmas, np.arange(80, -1, -1) / 100)


# ------------------------------------------------------------------------------------------------------------- solvers


def reverse_step(x0, n, noise):
    """DDPM's posterior of x_{t'} given x_t and x0, by Bayes' rule on u = x / (1 - t) whose noise is t / (1 - t)."""
    old, new = T / (1 - T), END / (1 - END)
    mean = x0 + new**2 / old**2 * (x0 + old * n - x0)
    return (1 - END) * (mean + np.sqrt(new**2 * (old**2 - new**2) / old**2) * noise)


def test_dps():
    noise = normal(step_key())
    downhill = JACOBIAN.T @ A.T @ MISSING
    plain = reverse_step(X0, N, noise)
    # The published step is of the variance-preserving state x / c(t), in which its gradient is taken.
    c, c_end = np.hypot(T, 1 - T), np.hypot(END, 1 - END)
    published = c_end * (plain / c_end + 10 * c * downhill / np.linalg.norm(MISSING))
    close(ran(guided.dps(Dense(A), Y, NOISE)), published)

    def moved(delta):
        x0 = X0 + delta
        return reverse_step(x0, (X - (1 - T) * x0) / T, noise)

    close(ran(guided.dps(Dense(A), Y, NOISE, step="likelihood")), moved(T**2 / (1 - T) * downhill / NOISE**2))
    close(ran(guided.dps(Dense(A), Y, NOISE, step="normalised", scale=0.7)), moved(0.7 * gaussian(X0, downhill)))


def test_dps_takes_nonlinear_operators():
    square = A @ X0
    downhill = JACOBIAN.T @ A.T @ (2 * square * (Y - square**2))
    delta = T**2 / (1 - T) * downhill / NOISE**2
    wanted = reverse_step(X0 + delta, (X - (1 - T) * (X0 + delta)) / T, normal(step_key()))
    close(ran(guided.dps(Square(A), Y, NOISE, step="likelihood")), wanted)


PINV = np.linalg.pinv(A)
BACK = {"adjoint": A.T, "pseudo_inverse": PINV, "data": np.eye(2)}


def downhill_norm(z, residual):
    """Minus the gradient of |R y - R A z|."""
    back = BACK[residual]
    left = back @ (Y - A @ z)
    return (back @ A).T @ left / np.linalg.norm(left)


@pytest.mark.parametrize("residual", BACK)
def test_flowdps(residual):
    noise = normal(step_key())
    for step, move in (
        ("published", lambda z: 0.2 * downhill_norm(z, residual)),
        ("normalised", lambda z: 0.2 * gaussian(z, downhill_norm(z, residual))),
    ):
        z = X0
        for _ in range(3):
            z = z + move(z)
        z = (1 - T) * X0 + T * z
        mixed = np.sqrt(END) * N + np.sqrt(1 - END) * noise
        solver = guided.flowdps(Solving(A), Y, NOISE, step=step, scale=0.2, residual=residual)
        close(ran(solver), z + END * (mixed - z))


@pytest.mark.parametrize("residual", BACK)
def test_flowchef(residual):
    g = downhill_norm(X0, residual)
    plain = X0 + END * (N - X0)
    close(ran(guided.flowchef(Solving(A), Y, NOISE, residual=residual)), plain + 15 * g)
    solver = guided.flowchef(Solving(A), Y, NOISE, step="normalised", residual=residual)
    close(ran(solver), (1 - END) * (X0 + gaussian(X0, g)) + END * N)


def test_the_normalised_step_is_the_posterior_mean_of_one_entry():
    a, y = A[:1], Y[:1]
    missing = y - a @ X0
    found = gaussian_step(Dense(a), *map(jnp.asarray, (X0, a.T @ missing, missing, X0)), R2, NOISE**2)
    close(found, R2 * a.T @ np.linalg.solve(R2 * a @ a.T + NOISE**2 * np.eye(1), missing))
    long = gaussian_step(Dense(a), *map(jnp.asarray, (X0, -1e3 * a.T @ missing, missing, X0)), R2, NOISE**2)
    close(found, long)


def test_nothing_moves_where_nothing_is_missing():
    """At the observation itself every direction is 0, and so is every step."""
    y = A @ X0
    for solver in (
        guided.dps(Dense(A), y, NOISE),
        guided.dps(Dense(A), y, NOISE, step="normalised"),
        guided.flowdps(Dense(A), y, NOISE, step="normalised"),
        guided.flowchef(Dense(A), y, NOISE),
    ):
        assert np.all(np.isfinite(ran(solver)))
    close(ran(guided.flowchef(Dense(A), y, NOISE)), X0 + END * (N - X0), rtol=1e-6)


def test_the_ancestral_step_has_the_flows_marginals():
    """From x = (1 - t) x0 + t n with the true x0, x' has mean (1 - t') x0 and variance t'^2, also from 1."""
    rows = ancestral(Grid(np.array([1.0, 0.6, 0.2, 0.0])))
    kept, fresh, end = rows["kept"], rows["fresh"], rows["next"]
    close(kept**2 + fresh**2, np.ones(3))
    close(kept, [0.0, 0.2 * 0.4 / (0.6 * 0.8), 0.0])
    close(rows["moved"], (1 - end) * (1 - kept**2))


# ------------------------------------------------------------------------------------------------------------ samplers


def test_pnp_flow():
    keys = jax.random.split(step_key(), 4)
    for step, scale, move in (
        ("published", 0.8, 0.8 * NOISE**2 * T**0.5 * A.T @ (Y - A @ X) / NOISE**2),
        ("normalised", 1.0, gaussian(X, A.T @ (Y - A @ X), centre=X)),
    ):
        options = dict(key=KEY, step=step, scale=scale, draws=4)
        found = guided.pnp_flow(network, Dense(A), Y, NOISE, jnp.asarray(X), GRID, alpha=0.5, **options)
        z = [(1 - T) * (X + move) + T * normal(key) for key in keys]
        close(found.final, np.mean([each - T * (W @ each + BIAS) for each in z], 0))
        close(found.x[0], z[0])
        close(found.v[0], W @ z[0] + BIAS)
        close(found.x0[0], found.final)
        close(found.stats["residual"], [np.linalg.norm(Y - A @ X)])
    close(guided.pnp_flow_start(Dense(A), Y), A.T @ np.ones(2))


def test_daps():
    around, again = jax.random.split(step_key())
    ratio = T / (1 - T)
    # Karras' rule with rho 7, then 0
    ratios = (ratio ** (1 / 7) + np.linspace(0, 1, 5) * (0.01 ** (1 / 7) - ratio ** (1 / 7))) ** 7
    u = X / (1 - T)
    for here, there in zip(ratios, [*ratios[1:], 0.0], strict=True):
        x = u / (1 + here)
        x0 = x - here / (1 + here) * (W @ x + BIAS)
        score = (x0 - u) / here**2
        u = u + 2 * here * (here - there) * score * 0.5  # the published code's step of the probability flow
    z, lr, tau = u, 0.02, 0.3
    for key in jax.random.split(around, 6):
        slope = A.T @ (A @ z - Y) / tau**2 + (z - u) / ratio**2
        z = z - lr * slope + np.sqrt(2 * lr) * normal(key)
    found = guided.daps(
        network, Dense(A), Y, NOISE, jnp.asarray(X), GRID, key=KEY, langevin_steps=6, lr=lr, tau=tau, record=Record()
    )
    close(found.final, (1 - END) * z + END * normal(again))
    close(found.stats["residual"], [np.linalg.norm(Y - A @ z)])
    close(found.taps["norm"], [np.sum(X**2)])


def test_daps_shows_times_between_the_grids():
    """The inner levels of a grid whose times are not 1000 sigma lie between its times; lr falls to its share."""
    plan = importlib.import_module("vrjax.inverse.guided.daps")._plan  # the package's name is the function
    rows = plan(Grid(np.array([1.0, 0.5, 0.0]), np.array([900.0, 500.0])), inner=3, lr=0.1, lr_end=0.01)
    assert rows["levels"].shape == (2, 4) and np.all(np.diff(rows["levels"], axis=1) < 0)
    close(rows["times"][:, 0], [900, 500])
    close(rows["times"][1, 1], 1000 * rows["levels"][1, 1])
    close(rows["lr"], [0.1, 0.1 * (1 - 0.5 * 0.99)])
    close(rows["precision"], [0, 1])
    grid = guided.daps_grid()
    close(grid.sigmas[[0, 199, 200]], [100 / 101, 0.1 / 1.1, 0], rtol=1e-12)


def test_d_flow():
    """The minimum over starts of a linear flow, by SciPy on the same objective; the midpoint rule restated."""

    def through(z, sigmas=np.linspace(1, 0, 6)):
        for here, there in zip(sigmas[:-1], sigmas[1:], strict=True):
            h = there - here
            z = z + h * (W @ (z + h / 2 * (W @ z + BIAS)) + BIAS)
        return z

    def objective(z, weight):
        length = np.linalg.norm(z)
        prior = length**2 / 2 - 2 * np.log(length + 1e-5)
        return np.sum((A @ through(z) - Y) ** 2) + weight * prior

    for given, weight in ((0.01, 0.01), (None, 2 * NOISE**2)):
        options = dict(iterations=25, memory=10, regularisation=given)
        run = jax.jit(lambda x, o=options: guided.d_flow(network, Dense(A), Y, NOISE, x, **o))(jnp.asarray(X))
        z = np.asarray(run.x[0])
        best = min((optimize.minimize(objective, s, (weight,), tol=1e-12) for s in (z, X)), key=lambda r: r.fun)
        close(run.stats["loss"][0], objective(X, weight))
        close(objective(z, weight), best.fun, rtol=1e-7)
        close(run.final, through(z))
        assert np.all(run.stats["finite"]) and run.stats["loss"].shape == (25,)


def test_d_flow_starts_on_the_datas_latent():
    """Without noise in the blend the start flows back to A^T y, up to the midpoint rule's error."""
    start = guided.d_flow_start(network, Dense(A), Y, jnp.zeros(3), blend=1.0, nodes=41)
    exact = A.T @ Y
    for _ in range(2000):
        k = W @ exact + BIAS
        exact = exact + (W @ (exact + k / 4000) + BIAS) / 2000
    close(start, exact, rtol=1e-3)
