import os
from pathlib import Path
import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent/'shared'
os.environ.setdefault('OMP_NUM_THREADS', '1')


@pytest.fixture
def shared():
    "Folder with real photos and pretrained weights, kept beside the checkout"
    if not (SHARED/'data').is_dir(): pytest.skip('no folder ../shared with real photos beside the checkout')
    return SHARED


@pytest.fixture
def says(record_property):
    "`says(line)`: a line for the summary at the end, also from a worker of pytest-xdist"
    return lambda line: record_property('says', line)


def pytest_terminal_summary(terminalreporter):
    reports = [o for kind in ('passed', 'failed') for o in terminalreporter.stats.get(kind, []) if o.when=='call']
    for o in reports:
        for k,v in o.user_properties: k=='says' and terminalreporter.write_line(v)
