"""A folder of photos and a first answer, beside fastai with the same weights; and what importing costs.
Each measurement has a process of its own. Run it alone: `python benchmarks/labelling.py`"""
import json, os, statistics, subprocess, sys, time
from pathlib import Path

import photos
from versus import row, summary

HERE, CACHE, BIN = Path(__file__).resolve().parent, photos.CACHE, Path(sys.executable).parent


def run(cmd):
    "Seconds from start to end of a command, and what it printed"
    t0 = time.perf_counter()
    p = subprocess.run([str(o) for o in cmd], capture_output=True, text=True)
    if p.returncode: raise RuntimeError(f'{cmd[1]}: {p.stderr[-2000:]}')
    return time.perf_counter()-t0, p.stdout


def child(side, model, files):
    "Seconds and peak memory of one side, its probabilities, and of ours which pictures were answered"
    import torch
    (CACHE/'list.txt').write_text('\n'.join(map(str, files)))
    _, said = run([sys.executable, HERE/'child.py', side, model, CACHE/'list.txt', CACHE/'probs.pt'])
    return json.loads(said.splitlines()[-1]) | torch.load(CACHE/'probs.pt')


def agreement(clf, ours, theirs):
    "In how many answered pictures labels differ, by the model's thresholds; by how much probabilities do"
    import torch
    def labels(probs): return clf.decision.given(probs.logit(eps=1e-7), torch.full((len(probs),), torch.inf))
    differs = (labels(ours['probs'])!=labels(theirs['probs'])).any(1)
    return int(differs[ours['answered']].sum()), (ours['probs']-theirs['probs']).abs().max().item()


def folder(name, model, files, bar, n):
    from mlc_course.classifier import Classifier
    twin = photos.in_fastai(model)
    ours, theirs = [], []
    for _ in range(n):
        ours.append(child('ours', model, files))
        theirs.append(child('fastai', twin, files))
    timed = summary(*([o['secs'] for o in side] for side in (ours, theirs)))
    n_odd, diff = agreement(Classifier.load(model), ours[-1], theirs[-1])
    peaks = [statistics.median(o['peak_mb'] for o in side) for side in (ours, theirs)]
    assert not n_odd, f'{n_odd} pictures have other labels'
    speeds = f'{len(files)/timed.ours:.0f} and {len(files)/timed.theirs:.0f} pictures/s'
    n_answered = int(ours[-1]['answered'].sum())
    return row(name, timed, bar, f'labels of all {n_answered} answered equal, probabilities to {diff:.0e}',
        f'{speeds}; peak {peaks[0]:.0f} and {peaks[1]:.0f} MB')


def share_of_bare(name, model, files, n):
    "How much of the network's own speed is left when pictures have to be read, and answers decided"
    a, b = [], []
    for _ in range(n):
        a.append(child('ours', model, files)['secs'])
        b.append(child('bare', model, files)['secs'])
    note = 'theirs: full precision, tensors in memory, the quicker of two ways to use both cores'
    return row(name, summary(a, b), .85, 'the same network', note)


def first_answer(model, file, n=5):
    "Process start to end, one photo"
    code = '''import sys, warnings
warnings.simplefilter("ignore")
from fastai.vision.all import *
learn = load_learner(sys.argv[1])
with learn.no_bar(): print(*learn.predict(sys.argv[2])[0])'''
    ours = [BIN/'mlc_predict', model, file]
    theirs = [sys.executable, '-c', code, photos.in_fastai(model), file]
    said = [run(o)[1] for o in (ours, theirs)]
    label = said[1].split()[-1]
    assert f': {label} ' in said[0], said
    a, b = zip(*((run(ours)[0], run(theirs)[0]) for _ in range(n)))
    name = 'first answer: process start to labels of one photo'
    return row(name, summary(a, b), 2.5, f'both say {label}', 'peak memory is that of the rows above')


def start_up(n=5):
    "Seconds in all, Python's own start included; what matters is the limit"
    res = []
    python, predict = [sys.executable,'-c'], [BIN/'mlc_predict','--help']
    limits = (('import mlc_course', [*python,'import mlc_course'], .1), ('mlc_predict --help', predict, 1))
    for name,cmd,limit in limits:
        secs = [run(cmd)[0] for _ in range(n)]
        bare = [run([*python,'pass'])[0] for _ in range(n)]
        timed = summary(secs, bare)
        assert timed.ours<limit, f'{name} takes {timed.ours:.2f} s'
        res.append(row(name, timed, f'below {limit} s', '', 'theirs: Python alone'))
    return res


def rows():
    six = photos.six_megapixels()
    model = photos.model('six', [f for i,f in enumerate(six) if i%2])
    res = [folder('label 300 six-megapixel JPEGs', model, six, 3, 3)]
    if small := photos.cats_dogs():
        cats = photos.model('cats', small.train)
        res.append(folder('label 2,000 small photos', cats, small.label, 1.5, 3))
        res.append(share_of_bare('the same beside the network alone', cats, small.label, 3))
    else: print(f'left out, no {photos.SHARED.name}/cats-dogs: labelling small photos')
    return [*res, first_answer(model, six[0]), *start_up()]


if __name__=='__main__':
    for o in rows(): print(o)
