from typing import Self

import numpy as np
from numpy.typing import NDArray

class _Tree:
    node_count: int
    max_depth: int
    children_left: NDArray[np.int64]
    children_right: NDArray[np.int64]
    feature: NDArray[np.int64]
    threshold: NDArray[np.float64]
    n_node_samples: NDArray[np.int64]
    value: NDArray[np.float64]

class _Grown:
    tree_: _Tree

class IsolationForest:
    estimators_: list[_Grown]
    def __init__(
        self, *, n_estimators: int = ..., max_samples: int = ..., random_state: int = ..., n_jobs: int = ...
    ) -> None: ...
    def fit(self, x: NDArray[np.float64], /) -> Self: ...
    def score_samples(self, x: NDArray[np.float64], /) -> NDArray[np.float64]: ...

class RandomForestRegressor:
    estimators_: list[_Grown]
    def __init__(
        self,
        *,
        n_estimators: int = ...,
        max_depth: int | None = ...,
        bootstrap: bool = ...,
        min_samples_leaf: int = ...,
        max_features: float = ...,
        max_samples: float = ...,
        random_state: int = ...,
        n_jobs: int = ...,
    ) -> None: ...
    def fit(self, x: NDArray[np.float64], y: NDArray[np.float64], /) -> Self: ...
    def predict(self, x: NDArray[np.float64], /) -> NDArray[np.float64]: ...
