"""Whatever stands in a file of somebody else: it is read, or refused in one short line that names it."""

import pytest
from fuzz.attempts import run_target
from fuzz.config_targets import CONFIG_TARGETS
from fuzz.targets import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_a_broken_file_is_read_or_refused_in_one_line_that_names_it(name, tmp_path):
    run_target(name, TARGETS[name], tmp_path)


@pytest.mark.parametrize("name", CONFIG_TARGETS)
def test_what_is_wrong_in_a_config_or_checkpoint_is_told_in_one_line(name, tmp_path):
    run_target(name, CONFIG_TARGETS[name], tmp_path)
