"""Has the guarantees' assertions explained like those of any test module."""

import pytest

pytest.register_assert_rewrite(
    "tests.contract.guarantees", "tests.contract.pod_resources_guarantees"
)
