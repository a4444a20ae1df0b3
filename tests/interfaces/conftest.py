"""Files of the hand-built models."""

from __future__ import annotations

from pathlib import Path

import pytest
from hand_models import churn_model, price_model


@pytest.fixture(scope="session")
def price_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "price.em"
    price_model().save(path)
    return path


@pytest.fixture(scope="session")
def churn_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "churn.em"
    churn_model().save(path)
    return path
