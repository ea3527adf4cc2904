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
