"""From a recipe to an unfitted estimator of scikit-learn.

The published systems used two tools, and what they left unsaid is that tool's habit where it is documented:

- Loey, Naman and Zayed (2020) used MATLAB 2018a. A tree of at most 20 splits has at most 21 leaves and the
  Gini index. A Gaussian kernel exp(-d^2 / s^2) of the medium scale s = sqrt(P), for P features, is here
  gamma = 1 / P. A polynomial kernel is (1 + x.y / s^2)^3. MATLAB standardises for machines and neighbours; a
  recipe says so by ``standardise``. Left open by the paper: which of MATLAB's Gaussian scales (sqrt(P) / 4,
  sqrt(P), 4 sqrt(P)), the scale of the linear and cubic kernels (MATLAB draws it from a subsample; here 1
  and sqrt(P)), whether features were standardised, and how a discriminant was had with fewer pictures than
  features.
- Ahmed et al. (2019) used Python and left everything open but the 3 neighbours. Their support vector machine
  answers at chance, which is what a Gaussian kernel of gamma = 1 / P (scikit-learn's rule until 2019) does on
  pixels of 0 to 255: every picture is like itself alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sklearn.base import BaseEstimator
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from trainer.recipes.recipe import ClassicalRecipe

CLASSIFIER: Final = "classifier"
"""The pipeline's last step, whose parameters are the recipe's."""
STANDARDISE: Final = "standardise"

_BOX_CONSTRAINT: Final = 1.0
_KERNELS: Final[Mapping[str, Mapping[str, Any]]] = {
    "svm-linear": {"kernel": "linear"},
    "svm-gaussian": {"kernel": "rbf", "gamma": "auto"},
    "svm-cubic": {"kernel": "poly", "degree": 3, "gamma": "auto", "coef0": 1.0},
}
"""``gamma`` "auto" is 1 / P."""
_KERNEL_CACHE_MIB: Final = 256


def build_classifier(recipe: ClassicalRecipe, *, seed: int) -> Pipeline:
    """The recipe's classifier, not fitted, with the standardising step before it where the recipe wants one.

    ``seed`` decides ties between equally good splits of a tree; the others have no chance in them.
    """
    steps = [(STANDARDISE, StandardScaler())] if recipe.standardise else []
    return Pipeline([*steps, (CLASSIFIER, _classifier(recipe, seed))])


def _classifier(recipe: ClassicalRecipe, seed: int) -> BaseEstimator:
    match recipe.classifier:
        case "decision-tree":
            # A tree of n splits has n + 1 leaves. Leaves are opened best first, which MATLAB does level by
            # level; a tree that needs fewer splits than it may make is the same in both.
            leaves = None if recipe.max_splits is None else recipe.max_splits + 1
            return DecisionTreeClassifier(criterion="gini", max_leaf_nodes=leaves, random_state=seed)
        case "linear-discriminant":
            # With fewer pictures than features the covariance has no inverse. Ledoit and Wolf's shrinkage (J.
            # Multivariate Analysis 88, 2004) gives one, without a number that somebody would have to choose.
            return LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
        case "k-nearest":
            # In high dimensions a search tree is slower than looking at everything, in blocks.
            return KNeighborsClassifier(
                n_neighbors=recipe.neighbours, metric="euclidean", algorithm="brute", weights="uniform"
            )
        case "naive-bayes":
            return GaussianNB()
        case "svm-linear" | "svm-gaussian" | "svm-cubic":
            # With ties broken by the scores, the class of the highest score is the class that is answered.
            return SVC(
                C=_BOX_CONSTRAINT,
                **_KERNELS[recipe.classifier],
                decision_function_shape="ovr",
                break_ties=True,
                cache_size=_KERNEL_CACHE_MIB,
            )
