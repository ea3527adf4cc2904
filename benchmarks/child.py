"""One measurement in its own process: python child.py SIDE MODEL LIST OUT; SIDE is ours, fastai or bare.
Prints seconds and peak memory as JSON"""
import json, sys, time, warnings
from pathlib import Path

import torch
from versus import peak_mb


def ours(model, files):
    from mlc_course.classifier import Classifier
    clf = Classifier.load(model)
    t0 = time.perf_counter()
    res = clf.predict(files)
    secs = time.perf_counter()-t0
    probs = torch.tensor([[o['probs'][k] for k in clf.vocab] for o in res])
    return secs, dict(probs=probs, answered=torch.tensor([o['known'] for o in res]))


def fastai(model, files):
    warnings.simplefilter('ignore') # of load_learner, that a pickle can run code
    from fastai.vision.all import load_learner
    learn = load_learner(model)
    t0 = time.perf_counter()
    with learn.no_bar(): probs,_ = learn.get_preds(dl=learn.dls.test_dl(files))
    return time.perf_counter()-t0, dict(probs=probs)


def bare(model, files):
    """The network alone, on tensors that are there already: the quicker of torch's own threads on batches
    of 64, and a thread for each small batch"""
    from concurrent.futures import ThreadPoolExecutor
    from mlc_course.classifier import Classifier
    from mlc_course.engine.pictures import batch_size, normalise, picture_tensor
    clf, n = Classifier.load(model, 'cpu'), torch.get_num_threads()
    size, best = clf.config['size'], []
    stats = clf.config['mean'],clf.config['std']
    xs = normalise(torch.stack([picture_tensor(f, size) for f in files[:512]]), stats)
    @torch.no_grad()
    def work(xb): return clf.model(xb).sigmoid()
    for bs,threads in (64,n), (batch_size(size),1):
        pool = ThreadPoolExecutor(n//threads, initializer=torch.set_num_threads, initargs=(threads,))
        with pool:
            list(pool.map(work, xs[:64].split(bs)))
            t0 = time.perf_counter()
            probs = torch.cat(list(pool.map(work, xs.split(bs))))
            best.append((time.perf_counter()-t0)*len(files)/len(xs))
    return min(best), dict(probs=probs)


if __name__=='__main__':
    side, model, files, out = sys.argv[1:]
    secs, said = globals()[side](Path(model), [Path(o) for o in Path(files).read_text().splitlines()])
    torch.save(said, out)
    print(json.dumps(dict(secs=secs, peak_mb=peak_mb())))
