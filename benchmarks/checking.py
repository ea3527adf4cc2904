"""Mistakes planted among 6,000 photos, found by `mlc_check`; beside it imagededup (its hashes, as in its
README) and cleanlab on features of the same body. Each side runs as a process of its own, start included.
Run it alone: `python benchmarks/checking.py`"""
import csv, json, random, shutil, statistics, subprocess, sys, time
from importlib.util import find_spec
from pathlib import Path

import photos
from versus import row, summary

HERE, CACHE, BIN = Path(__file__).resolve().parent, photos.CACHE, Path(sys.executable).parent
KINDS = 'copied', 'resized', 'recompressed', 'mirrored', 'cropped'
N, SEEDS = 40, (10,11,12) # mistakes of each kind; seeds on which no threshold was chosen


def altered(img, kind, rng):
    "A copy of a photo as people make them, and the quality of its JPEG"
    from PIL import ImageOps
    w, h = img.size
    if kind=='recompressed': return img, rng.randint(30, 75)
    if kind=='mirrored': return ImageOps.mirror(img), 90
    if kind=='resized':
        scale = rng.uniform(.3, .8)
        return img.resize((round(w*scale), round(h*scale))), 90
    left, top, right, bottom = (rng.uniform(0, .08) for _ in range(4))
    return img.crop((round(left*w), round(top*h), round(w-right*w), round(h-bottom*h))), 90


def plant(seed, n=N):
    """A folder a label with links to 6,000 photos, `n` of them in the wrong one, and `n` further files of
    each kind of copy; names of the swapped, and from kind to pairs of names"""
    from PIL import Image
    rng, dest = random.Random(seed), CACHE/f'check_{seed}'
    files = sorted((photos.SHARED/'cats-dogs/train').glob('*.jpg'))
    def label(file): return file.name.split('.')[0]
    lot = rng.sample(files, 6*n)
    swapped, lot = lot[:n], lot[n:]
    shutil.rmtree(dest, ignore_errors=True)
    for o in 'cat', 'dog': (dest/o).mkdir(parents=True)
    for f in files:
        folder = label(f) if f not in swapped else 'dog' if label(f)=='cat' else 'cat'
        (dest/folder/f.name).symlink_to(f)
    copies = {}
    for k,kind in enumerate(KINDS):
        copies[kind] = []
        for f in lot[k*n:(k+1)*n]:
            twin = dest/label(f)/f'{kind}_{f.name}'
            copies[kind].append((f.name, twin.name))
            if kind=='copied': shutil.copy(f, twin)
            else:
                img, quality = altered(Image.open(f), kind, rng)
                img.save(twin, quality=quality)
    return dest, [o.name for o in swapped], copies


def ours(folder):
    "Pairs of copies, and pictures with doubtful labels in order, as the command writes them"
    table = CACHE/'check.csv'
    cmd = BIN/'mlc_check', folder, '--csv', table, '--fail-on', 'none'
    subprocess.run(cmd, check=True, capture_output=True)
    rows = list(csv.DictReader(open(table, encoding='utf-8')))
    def name(path): return Path(path).name
    pairs = {frozenset((name(o['file']), name(o['other']))) for o in rows
        if o['issue'] in ('copy','near_copy','contradiction')}
    return pairs, [name(o['file']) for o in rows if o['issue'] in ('label','doubt')]


def theirs(folder):
    "The same, in a process of its own"
    found = CACHE/'theirs.json'
    subprocess.run([sys.executable, __file__, 'theirs', folder, found], check=True, capture_output=True)
    res = json.loads(found.read_text())
    return {frozenset(o) for o in res['pairs']}, res['doubtful']


def body_features(files):
    "Of the body that `mlc_check` uses, at its own size, by a plain loop of PyTorch"
    import torch
    from PIL import Image
    from torchvision import transforms as T
    from mlc_course.engine.networks import build_model, find_arch
    kind = find_arch('efficientnet_lite2')
    body = build_model('efficientnet_lite2', 1, weights='DEFAULT')[0].eval()
    tfms = T.Compose([T.Resize((kind.size,kind.size)), T.ToTensor(), T.Normalize(*kind.stats)])
    class Photos(torch.utils.data.Dataset):
        def __len__(self): return len(files)
        def __getitem__(self, i): return tfms(Image.open(files[i]).convert('RGB'))
    loader = torch.utils.data.DataLoader(Photos(), 64, num_workers=2)
    with torch.inference_mode(): return torch.cat([body(xb).mean((2,3)) for xb in loader]).numpy()


def search(folder, dest):
    "imagededup for copies; for labels cleanlab, on cross-validated logistic regressions as in its tutorials"
    import numpy as np
    from cleanlab.filter import find_label_issues
    from imagededup.methods import PHash
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    near = PHash(verbose=False).find_duplicates(folder, recursive=True)
    pairs = {frozenset((Path(a).name, Path(b).name)) for a,others in near.items() for b in others}
    files = sorted(Path(folder).rglob('*.jpg'))
    labels = np.array([int(o.parent.name=='dog') for o in files])
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    probs = cross_val_predict(model, body_features(files), labels, cv=5, method='predict_proba')
    ranked = find_label_issues(labels, probs, return_indices_ranked_by='self_confidence')
    found = dict(pairs=[sorted(o) for o in pairs], doubtful=[files[i].name for i in ranked])
    Path(dest).write_text(json.dumps(found))


def score(found, swapped, copies):
    "How much of what was planted is found, and how much else"
    pairs, doubtful = found
    planted = {frozenset(o) for pairs in copies.values() for o in pairs}
    res = {kind: len({frozenset(o) for o in twins} & pairs) for kind,twins in copies.items()}
    return dict(res, false=len(pairs-planted), swapped=len(set(swapped) & set(doubtful[:2*len(swapped)])))


def said(scores):
    "One side over all seeds"
    def total(kind): return sum(o[kind] for o in scores)
    n = N*len(scores)
    kinds = ', '.join(f'{total(o)} {o}' for o in KINDS)
    return (f'{total("swapped")} of {n} swapped labels in the first {2*N} rows; of {n} each {kinds}; '
        f'{total("false")} other pairs')


def rows(seeds=SEEDS):
    if not photos.cats_dogs():
        print(f'left out, no {photos.SHARED.name}/cats-dogs: looking for mistakes')
        return []
    if missing := [o for o in ('imagededup','cleanlab') if not find_spec(o)]:
        print(f'left out, no {" and no ".join(missing)}: looking for mistakes')
        return []
    times, scores = ([],[]), ([],[])
    for seed in seeds:
        folder, *truth = plant(seed)
        for k,side in enumerate((ours,theirs)):
            t0 = time.perf_counter()
            found = side(folder)
            times[k].append(time.perf_counter()-t0)
            scores[k].append(score(found, *truth))
        shutil.rmtree(folder)
    a, b = scores
    assert sum(o['swapped'] for o in a) >= max(.8*N*len(a), sum(o['swapped'] for o in b)), scores
    for o,p in zip(a, b):
        assert o['copied']==N and o['resized']+o['recompressed']>=.95*2*N, o
        assert all(o[kind]>=p[kind] for kind in KINDS), (o, p)
    name = 'mistakes planted among 6,000 photos: wrong labels and copies'
    note = 'theirs: imagededup with PHash, cleanlab on features of the same body; process starts included'
    return [row(name, summary(*times), 3, f'ours: {said(a)}; theirs: {said(b)}', note)]


if __name__=='__main__':
    if sys.argv[1:2]==['theirs']: search(*sys.argv[2:])
    else:
        for o in rows(): print(o)
