from tests.seeded import _one_thread_and_seed  # noqa: F401 - a fixture
