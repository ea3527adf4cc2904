"""Thresholds, ranking scores and neighbours beside scikit-learn, torchmetrics and MAPIE, on random scores
with ties. One function a row; each checks that both sides agree before a time counts.
Run it alone: `python benchmarks/scoring.py`"""
import math, warnings
import numpy as np, torch
from sklearn import metrics as skm
from sklearn.neighbors import NearestNeighbors
from torchmetrics.functional import classification as tm
from mlc_course.metrics import average_precision, best_threshs
from mlc_course.trust import crc_thresh
from mlc_course.unknown import auroc, fpr_at_tpr, knn_score
from versus import row, secs, summary, versus


def scores(n_items, n_classes=80, seed=0, no_label=True):
    "Probabilities rounded to three digits, so with ties within and across; a quarter of the targets is 1"
    gen = torch.Generator().manual_seed(seed)
    logits = torch.randn(n_items, n_classes, generator=gen)*2 - 2
    targets = torch.bernoulli((logits*.7).sigmoid(), generator=gen)
    if no_label: targets[:n_items//10] = 0
    else: targets[targets.sum(1)==0, 0] = 1
    return logits.sigmoid().round(decimals=3), targets


def columns(*tables):
    "Each table as an array with one row a label"
    return [o.T.contiguous().numpy() for o in tables]


def thresholds(n_items=100_000):
    "The best of all distinct scores against the best of 99; F1 of both by scikit-learn"
    probs, targets = scores(n_items)
    grid = np.linspace(.01, .99, 99, dtype=np.float32)
    scored, there = columns(probs, targets.bool())
    def f1(j, t): return skm.f1_score(y_true=there[j], y_pred=scored[j]>t)
    a, b, gain = [], [], []
    for js in range(0, 80, 10):
        t, ours = secs(lambda: best_threshs(probs, targets))
        a.append(t)
        t, theirs = secs(lambda: [max(f1(j, t) for t in grid) for j in range(js, js+10)])
        b.append(t)
        gain += [f1(j, t)-g for j,t,g in zip(range(js, js+10), ours[js:js+10].numpy(), theirs)]
    assert min(gain) >= 0, f'F1 lower by {-min(gain)}'
    timed = summary(a, [sum(b)]*len(a))
    return row('best-F1 thresholds, 100,000 × 80', timed, 200,
        f'F1 higher by {min(gain):.0e} to {max(gain):.0e}',
        'each turn: all 80 labels of ours, and ten of the 80 of theirs, which are added up')


def risk_control():
    "The same grid in both; MAPIE refuses items without labels: there are none here, a second call has them"
    from mapie.risk_control import MultiLabelClassificationController as Controller
    probs, targets = scores(20_000, no_label=False)
    grid, y = np.arange(0, 1, .01), targets.numpy().astype(int)
    def theirs():
        fit = Controller(lambda x: x, risk='recall', method='crc', target_level=.9, predict_params=grid)
        return fit.calibrate(probs.numpy(), y).best_predict_param.item()
    timed = versus(lambda: crc_thresh(probs, targets, .1, grid=grid), theirs, n=3, warm=False)
    assert abs(timed.ours_res-timed.theirs_res) < 1e-6
    assert crc_thresh(probs, targets, .1)-timed.ours_res < .01
    crc_thresh(*scores(20_000), .1)
    return row('conformal risk control, 20,000 × 80', timed, 300, f'both {timed.ours_res:.2f}',
        'items without labels accepted')


def fastest(name, ours, bar=1, n=5, eps=1e-6, note='', **theirs):
    "The row against the faster of `theirs`; all must agree"
    timed = {k: versus(ours, f, n=n) for k,f in theirs.items()}
    def gap_of(o): return float(np.abs(np.asarray(o.ours_res)-np.asarray(o.theirs_res)).max())
    gap = max(map(gap_of, timed.values()))
    assert gap <= eps, f'{name}: {gap}'
    best = min(timed, key=lambda k: timed[k].theirs/timed[k].ours)
    others = ', '.join(f'{k} {o.ratio:.1f}' for k,o in timed.items() if k!=best)
    notes = [f'against {best} ({others})', note]
    return row(name, timed[best], bar, f'max difference {gap:.0e}', '; '.join(filter(None, notes)))


def mean_average_precision():
    probs, targets = scores(40_000)
    p, t, ti = probs.numpy(), targets.numpy().astype(int), targets.long()
    return fastest('average precision, 40,000 × 80', lambda: average_precision(probs, targets),
        sklearn=lambda: skm.average_precision_score(y_true=t, y_score=p, average=None),
        torchmetrics=lambda: tm.multilabel_average_precision(probs, ti, num_labels=80, average=None))


def by_label(f, probs, targets):
    return [f(p[t], p[~t]) for p,t in zip(*columns(probs, targets.bool()))]


def area():
    probs, targets = scores(40_000)
    p, t, ti = probs.numpy(), targets.numpy().astype(int), targets.long()
    return fastest('AUROC, 40,000 × 80', lambda: by_label(auroc, probs, targets),
        note='one call a label, splitting included',
        sklearn=lambda: skm.roc_auc_score(y_true=t, y_score=p, average=None),
        torchmetrics=lambda: tm.multilabel_auroc(probs, ti, num_labels=80, average=None))


def strangers_let_in():
    probs, targets = scores(40_000)
    scored, there = columns(probs, targets.int())
    ti = targets.long()
    def first(fpr, tpr): return float(fpr[np.argmax(np.asarray(tpr)>=.95-1e-9)])
    def of_label(p, t):
        fpr, tpr, _ = skm.roc_curve(y_true=t, y_score=p, drop_intermediate=False)
        return first(fpr, tpr)
    def sklearn(): return list(map(of_label, scored, there))
    def torchmetrics():
        fprs, tprs, _ = tm.multilabel_roc(probs, ti, num_labels=80)
        return list(map(first, fprs, tprs))
    return fastest('FPR95, 40,000 × 80', lambda: by_label(fpr_at_tpr, probs, targets),
        sklearn=sklearn, torchmetrics=torchmetrics, note='one call a label, splitting included')


def peak_more(f):
    "Megabytes by which a call's peak exceeds what was held before; None where the kernel does not tell"
    from pathlib import Path
    def held(key): return int(Path('/proc/self/status').read_text().split(key+':')[1].split()[0])/1024
    try: Path('/proc/self/clear_refs').write_text('5')
    except OSError: return None
    before = held('VmRSS')
    f()
    return held('VmHWM')-before


def neighbours(n_items=20_000, n_refs=50_000, chunk=1024):
    "Features as after a ReLU; scikit-learn's squared distance of unit vectors is 2 - 2 cosines"
    gen = torch.Generator().manual_seed(0)
    feats, refs = (torch.rand(n, 512, generator=gen)**3 for n in (n_items, n_refs))
    def unit(x): return torch.nn.functional.normalize(x, dim=1).numpy()
    def theirs():
        near = NearestNeighbors(n_neighbors=5, algorithm='brute').fit(unit(refs))
        return (1 - near.kneighbors(unit(feats))[0]**2/2).mean(1)
    timed = versus(lambda: knn_score(feats, refs, chunk=chunk), theirs, n=2, warm=False)
    gap = float(np.abs(timed.ours_res.numpy()-timed.theirs_res).max())
    assert gap <= 1e-4, gap
    # The similarities; references of length 1, and what makes them
    bound = (chunk*n_refs + 2*refs.numel())*4/1e6
    more = peak_more(lambda: knn_score(feats[:4*chunk], refs, chunk=chunk))
    assert more is None or more < 1.5*bound, (more, bound)
    return row('5 neighbours, 20,000 to 50,000 × 512', timed, 1, f'max difference {gap:.0e}',
        f'peak memory {more or math.nan:.0f} MB more, at {chunk} items a time; '
        f'all similarities are {n_items*n_refs*4/1e6:,.0f} MB')


def rows():
    every = thresholds, risk_control, mean_average_precision, area, strangers_let_in, neighbours
    return [f() for f in every]


LINE = ('{row}: {ours:.3g} s, theirs {theirs:.3g} s, ratio {ratio:.3g} ({low:.3g} to {high:.3g}; '
    'at least {bar}), {equal}; {n} turns; {note}')


if __name__=='__main__':
    warnings.filterwarnings('ignore')
    for o in rows(): print(LINE.format(**o), flush=True)
