"""The elliptic equation by other means: vertices instead of cells, a sparse factorisation instead of iterations."""

import functools

import numpy as np
import scipy.sparse
import scipy.sparse.linalg


def smooth(x, y):
    """A log-permeability without symmetry, in about -1.5 to 1.5."""
    return 0.9 * np.sin(2 * np.pi * x + 0.4) * np.cos(np.pi * y) + 0.6 * np.cos(3 * x * y + 1.5 * y)


def cells(n, u=smooth):
    """u at the centres of n x n cells."""
    at = (np.arange(n) + 0.5) / n
    return u(at[:, None], at[None, :])


def at_vertices(m, u=smooth, f=10.0):
    """Pressure at the (m - 1)^2 inner vertices i/m: finite differences, exp(u) at the middles of edges."""
    at = np.arange(1, m) / m
    half = (np.arange(m) + 0.5) / m
    x = np.exp(u(half[:, None], at[None, :]))  # (m, m - 1), of edges along x
    y = np.exp(u(at[:, None], half[None, :]))
    number = np.arange((m - 1) ** 2).reshape(m - 1, m - 1)
    diagonal = x[1:] + x[:-1] + y[:, 1:] + y[:, :-1]
    rows = [number.ravel(), number[1:].ravel(), number[:, 1:].ravel()]
    columns = [number.ravel(), number[:-1].ravel(), number[:, :-1].ravel()]
    values = [0.5 * diagonal.ravel(), -x[1:-1].ravel(), -y[:, 1:-1].ravel()]
    lower = scipy.sparse.csc_array((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))))
    p = scipy.sparse.linalg.spsolve((lower + lower.T).tocsc(), np.full((m - 1) ** 2, f / m**2))
    return p.reshape(m - 1, m - 1)


@functools.cache
def fine_sensors():
    """The smooth field's pressure at (i/7, j/7), extrapolated from two vertex grids of which they are vertices."""
    coarse, fine = (at_vertices(m)[m // 7 - 1 :: m // 7, m // 7 - 1 :: m // 7].ravel() for m in (56, 112))
    return fine + (fine - coarse) / 3


def cells_matrix(u):
    """The finite volumes' matrix on cell centres, face by face in a loop."""
    n, a = u.shape[0], np.exp(u)
    matrix = np.zeros((n * n, n * n))
    for i in range(n):
        for j in range(n):
            for k, l in ((i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)):
                if 0 <= k < n and 0 <= l < n:
                    face = 2 * a[i, j] * a[k, l] / (a[i, j] + a[k, l])
                    matrix[i * n + j, k * n + l] -= face
                else:
                    face = 2 * a[i, j]
                matrix[i * n + j, i * n + j] += face
    return matrix


def series(terms=199):
    """The largest pressure of u = 0 and f = 10: the double sine series of the square at its centre."""
    k = np.arange(1, terms + 1, 2)
    sign = np.where(k % 4 == 1, 1.0, -1.0)
    return 160 / np.pi**4 * np.sum(np.outer(sign / k, sign / k) / (k[:, None] ** 2 + k**2))
