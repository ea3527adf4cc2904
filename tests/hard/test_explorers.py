"Five hundred changes of the explorers"
import gc
import matplotlib.pyplot as plt
import pytest
from matplotlib.figure import Figure
from mlc_course.ui import explorers as widgets


@pytest.fixture(scope='module')
def made():
    "Each explorer with its defaults"
    return {o: getattr(widgets, o)() for o in widgets.__all__ if o.startswith('explore_')}


def test_500_changes(made, says):
    "Fifty of each explorer: the median time is reported (meant to be 150 ms on two cores), and nothing stays open"
    def figures(): return gc.collect() and 0 or sum(type(o) is Figure for o in gc.get_objects())
    before,known = figures(),plt.get_fignums()
    ms = {name: widgets.latency(o) for name,o in made.items()}
    says('milliseconds a change, median of 50: ' + ', '.join(f'{k.removeprefix("explore_")} {v:.0f}' for k,v in ms.items()))
    assert len(ms)*50>=500
    assert figures()<=before
    assert plt.get_fignums()==known
