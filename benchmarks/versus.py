"Two ways of doing the same work, timed by turns, so that a busy moment of the machine hits both"
import gc, resource, statistics, time
from types import SimpleNamespace


def secs(fn):
    "Wall time of one call, and what it returned"
    gc.collect()
    t0 = time.perf_counter()
    res = fn()
    return time.perf_counter()-t0, res


def versus(ours, theirs, n=5, warm=True):
    "Medians of `n` turns A B A B; the ratio is that of the medians, its spread that of the turns"
    if warm: ours(), theirs()
    a, b = [], []
    for _ in range(n):
        t, ours_res = secs(ours)
        a.append(t)
        t, theirs_res = secs(theirs)
        b.append(t)
    return summary(a, b, ours_res=ours_res, theirs_res=theirs_res)


def summary(a, b, **more):
    "Seconds of both sides by turns, summed up"
    ratios = sorted(y/x for x, y in zip(a, b))
    return SimpleNamespace(ours=statistics.median(a), theirs=statistics.median(b), n=len(a),
        ratio=statistics.median(b)/statistics.median(a), low=ratios[0], high=ratios[-1], **more)


def peak_mb(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1024


def row(name, timed, bar, equal, note=''):
    "A line of the table"
    return dict(row=name, ours=timed.ours, theirs=timed.theirs,
        ratio=timed.ratio, low=timed.low, high=timed.high,
        bar=bar, equal=equal, n=timed.n, note=note)
