"""The invariant as a property of any history: a model of a host, the service as a state machine, and the test."""

import pytest

# Let a failure show both sides, as in a test's own module.
pytest.register_assert_rewrite("tests.stories.invariant.service", "tests.stories.invariant.world")
