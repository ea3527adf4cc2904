"""How well each method of `engine.scores` tells known from unknown pictures: drawn pets, photos of pets, scenes.
Writes nbs/results/unknown_methods.csv and the table in README.md.

`python benchmarks/unknown.py --cache FOLDER` keeps the features there: half a minute for 1,000 photos"""
import argparse
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import nn

from mlc_course.data import breed_of, data_folder, encode_labels, pets, read_labels
from mlc_course.engine.networks import build_model, find_arch
from mlc_course.engine.pictures import for_batches, normalise, picture_files
from mlc_course.engine.scores import RIVALS, Known
from mlc_course.engine.training import fit_head
from mlc_course.unknown import auroc, fpr_at_tpr

RESULTS = Path(__file__).resolve().parent.parent/'nbs/results/unknown_methods.csv'
BODY = 'efficientnet_lite2'
ANIMALS, VEHICLES = {'horse','cow','sheep'}, {'aeroplane','boat','bus','train'}
BREEDS = 'Abyssinian', 'Bengal', 'american_bulldog' # those with 160 photos


# --- pictures and features

def scene_files():
    folder = data_folder()/'pascal_2007'
    return [folder/part/name for part in ('train','test') for name in read_labels(folder/f'{part}.csv').fname]


def drawn_files():
    drawn = pets('drawn', 260, n_scenes=0, n_test=0)
    return [*drawn.files, *drawn.unknown]


SETS = dict(voc=scene_files, drawn=drawn_files,
    pets=lambda: picture_files(data_folder()/'oxford-iiit-pet/images'),
    dogs_other=lambda: picture_files(data_folder()/'dogs_other'),
    unknown=lambda: picture_files(data_folder()/'unknown'))


def channel_means(files):
    "Mean of each channel of the body's last map, `(n_items, n_feat)`"
    kind = find_arch(BODY)
    body = build_model(BODY, 1, weights='DEFAULT')[0].eval()
    means = torch.zeros(len(files), 1280)
    def look(ix, xb): means[ix] = body(normalise(xb, kind.stats)).mean((2,3))
    errors = for_batches(look, files, kind.size, 'looking at pictures', strict=True)
    for e in errors.values(): raise e
    return means


def features(name, cache):
    "Names of the files of a set, and what the body says of them, pooled as the package does: the root of means"
    files = SETS[name]()
    stored = cache/f'{name}.pt' if cache else None
    if stored and stored.exists():
        found = torch.load(stored)
        if [Path(o).name for o in found['files']]!=[o.name for o in files]:
            raise SystemExit(f'{stored} is of other pictures: delete it')
        return files, found['mean'][:,0].sqrt()
    means = channel_means(files)
    if stored:
        cache.mkdir(parents=True, exist_ok=True)
        torch.save(dict(files=[o.name for o in files], mean=means[:,None]), stored)
    return files, means.sqrt()


# --- deals: who is known, who trains, who tests

class Deal(NamedTuple):
    "Pictures with some labels known, those with one split into two parts"
    name:str       # What is dealt
    feats:object   # Of all pictures, `(n_items, n_feat)`
    targets:object # 0/1, the known labels only
    train:object   # Positions of known pictures to train on
    test:object    # Of other known pictures
    unknown:dict   # From the name of a group to positions; nobody has a known label


def deal(name, feats, labels, vocab, groups, seed, share):
    "Known pictures are those with a label in `vocab`; `share` of them test"
    known_labels = [sorted(o & set(vocab)) for o in labels]
    targets = encode_labels(known_labels, list(vocab))
    is_known = targets.bool().any(1)
    gen = torch.Generator().manual_seed(seed)
    order = is_known.nonzero()[:,0]
    order = order[torch.randperm(len(order), generator=gen)]
    n_test = round(share*len(order))
    unknown = {g: (torch.as_tensor(o) & ~is_known).nonzero()[:,0] for g,o in groups.items()}
    return Deal(name, feats, targets, order[n_test:], order[:n_test], unknown)


def scene_labels():
    folder = data_folder()/'pascal_2007'
    tables = [read_labels(folder/f'{part}.csv') for part in ('train','test')]
    return [set(o.split()) for t in tables for o in t.labels]


def scenes(cache, n_deals=5):
    "Thirteen labels known; animals and vehicles of others"
    labels = scene_labels()
    groups = {name: [bool(o) and o<=group for o in labels] for name,group in
        (('animals',ANIMALS), ('vehicles',VEHICLES))}
    vocab = sorted(set().union(*labels)-ANIMALS-VEHICLES)
    for seed in range(n_deals):
        yield deal('scenes', features('voc', cache)[1], labels, vocab, groups, seed, .4)


def choices(cache, n_deals=12):
    "From 6 to 16 labels of scenes, drawn by lot, are known; whatever shows none of them is not"
    labels = scene_labels()
    vocab = sorted(set().union(*labels))
    gen = np.random.default_rng(11)
    for seed in range(n_deals):
        some = sorted(gen.choice(vocab, gen.integers(6, 17), replace=False).tolist())
        groups = dict(others=[bool(o) for o in labels])
        yield deal('scenes, any labels', features('voc', cache)[1], labels, some, groups, seed, .4)


def photos_of_pets(cache, n_deals=6):
    "Three breeds; other breeds, dogs of still others, and photos without any pet"
    sets = {o: features(o, cache) for o in ('pets','dogs_other','unknown')}
    of_set = np.repeat([*sets], [len(o[0]) for o in sets.values()])
    feats = torch.cat([o[1] for o in sets.values()])
    labels = [{breed_of(f)} for f in sets['pets'][0]]
    labels += [set() for _ in range(len(feats)-len(labels))]
    groups = {'breeds': of_set=='pets', 'other dogs': of_set=='dogs_other', 'far': of_set=='unknown'}
    for seed in range(n_deals): yield deal('pets', feats, labels, BREEDS, groups, seed, .2)


def drawings(cache, n_deals=6):
    "Six drawn breeds; near, far and other breeds as in chapter 07"
    files,feats = features('drawn', cache)
    kinds = np.array([breed_of(f) for f in files])
    names = dict(breeds=['Persian','samoyed'], near=['donkey','rabbit'], far=['car','ball'])
    groups = {g: np.isin(kinds, o) for g,o in names.items()}
    vocab = sorted(set(kinds)-set(chain(*names.values()))-{'bird'})
    labels = [{o} for o in kinds]
    for seed in range(n_deals): yield deal('drawn pets', feats, labels, vocab, groups, seed, .2)


# --- methods

SUMS = '10 neighbours', "5 of a label's own", 'density of 20', 'Mahalanobis++' # each with the balanced energy


def known_of(d):
    "What a model knows that trains on this deal"
    feats,targets = d.feats[d.train], d.targets[d.train]
    head = fit_head(nn.Linear(feats.shape[1], targets.shape[1]), feats, targets)
    return Known(feats, targets, head.weight.detach(), head.bias.detach())


def all_scores(d, known):
    "From each method to its scores of known test pictures and of each group; sums in the spread of the former"
    parts = dict(known=d.test, **d.unknown)
    feats = {g: d.feats[o] for g,o in parts.items()}
    res = {}
    for name,rival in RIVALS.items():
        res[name] = {g: rival.score(x, known.logits(x), known) for g,x in feats.items()}
    def in_spread(name): # standard deviations of known pictures
        usual = res[name]['known']
        return {g: (o-usual.mean())/usual.std() for g,o in res[name].items()}
    energy = in_spread('balanced energy')
    for name in SUMS:
        other = in_spread(name)
        res[f'balanced energy + {name}'] = {g: energy[g]+other[g] for g in parts}
    return res


def with_error(fn, known, unknown, n=100):
    "A figure, and its sampling error by the bootstrap over both kinds of pictures"
    gen = torch.Generator().manual_seed(0)
    def again(x): return x[torch.randint(len(x), (len(x),), generator=gen)]
    return fn(known, unknown), np.std([fn(again(known), again(unknown)) for _ in range(n)])


def measured(d):
    "A row for each method and each group of unknown pictures"
    for method,scores in all_scores(d, known_of(d)).items():
        for group in d.unknown:
            both = scores['known'], scores[group]
            row = dict(data=d.name, group=group, method=method, n_known=len(both[0]), n_unknown=len(both[1]))
            row['auroc'],row['auroc_error'] = with_error(auroc, *both)
            row['fpr95'],row['fpr95_error'] = with_error(fpr_at_tpr, *both)
            yield row


def methods(cache):
    rows = []
    for d in chain(drawings(cache), photos_of_pets(cache), scenes(cache), choices(cache)):
        rows += measured(d)
        print(d.name, len(d.train), 'to train on', flush=True)
    by = pd.DataFrame(rows).groupby(['data','group','method'], sort=False)
    res = by.mean().assign(deals=by.size())
    for o in 'auroc','fpr95': res[f'{o}_spread'] = by[o].std()
    sizes = dict.fromkeys(('n_known','n_unknown'), int)
    res = res.round(dict(n_known=0, n_unknown=0)).astype(sizes).reset_index()
    res.to_csv(RESULTS, index=False, float_format='%.4f')
    return methods_text(res)


def methods_text(df):
    "Markdown: AUROC / FPR95 of each method, and how far each column can be trusted"
    def short(x): return f'{x:.3f}'.lstrip('0') if x<.9995 else '1.00'
    cells = df[['data','group']].drop_duplicates().itertuples(index=False)
    columns = {f'{o.data}: {o.group}': df[(df.data==o.data) & (df.group==o.group)] for o in cells}
    lines = ['| AUROC / FPR95 | '+' | '.join(columns)+' |', '|---'*(len(columns)+1)+'|']
    def line(head, fn): lines.append(f'| {head} | {" | ".join(map(fn, columns.values()))} |')
    for name in df.method.unique():
        def of(o):
            r = o[o.method==name].iloc[0]
            return ' / '.join(f'**{short(r[k])}**' if r[k]==best else short(r[k])
                for k,best in (('auroc',o.auroc.max()), ('fpr95',o.fpr95.min())))
        line(name, of)
    def middle(what): return lambda o: ' / '.join(short(o[f'{k}_{what}'].median()) for k in ('auroc','fpr95'))
    line('*sampling error of one deal*', middle('error'))
    line('*spread of the deals*', middle('spread'))
    line('*test pictures, known and not*', lambda o: f'{o.n_known.iloc[0]:,}, {o.n_unknown.iloc[0]:,}')
    return '\n'.join(lines)


if __name__=='__main__':
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--cache', type=Path, help='folder that keeps features')
    print(methods(parser.parse_args().cache))
