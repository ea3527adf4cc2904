"Five hundred changes of the explorers"
import gc
from statistics import median
from time import perf_counter
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from test_widgets import MAKERS


def latency(explorer, n=50):
    "Median of the milliseconds from a change of the first slider to text and picture"
    control = next(o for o in explorer.controls.values() if hasattr(o, 'max'))
    start,times = control.value,[]
    for value in np.linspace(control.min, control.max, n+1)[1:]:
        before = perf_counter()
        control.value = type(start)(value)
        times.append(1000*(perf_counter()-before))
    control.value = start
    return median(times)


def open_figures():
    gc.collect()
    return sum(type(o) is Figure for o in gc.get_objects())


def test_500_changes(says):
    "Fifty of each: the median time is reported (meant to be 150 ms on two cores), and nothing stays open"
    made = {name.removeprefix('explore_'): make() for name,make in MAKERS.items()}
    assert len(made)*50>=500
    before,known = open_figures(),plt.get_fignums()
    times = [f'{name} {latency(explorer):.0f}' for name,explorer in made.items()]
    says('milliseconds a change, median of 50: ' + ', '.join(times))
    assert open_figures()<=before
    assert plt.get_fignums()==known
