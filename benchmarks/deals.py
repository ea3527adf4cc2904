"""Who is known, who trains, who tests: deals of drawn pets, photos of pets, and scenes"""
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from mlc_course.data import breed_of, encode_labels, pets, read_labels
from mlc_course.draw.datasets import data_folder
from mlc_course.engine.networks import RootPool, build_model, find_arch
from mlc_course.engine.pictures import for_batches, normalise, picture_files

from photos import CACHE

BODY = 'efficientnet_lite2'
ANIMALS, VEHICLES = {'horse','cow','sheep'}, {'aeroplane','boat','bus','train'}
BREEDS = 'Abyssinian', 'Bengal', 'american_bulldog' # those with 160 photos


# --- pictures and features

def scene_files():
    folder = data_folder()/'pascal_2007'
    tables = {part: read_labels(folder/f'{part}.csv') for part in ('train','test')}
    return [folder/part/name for part,t in tables.items() for name in t.fname]


def drawn_files():
    drawn = pets('drawn', 260, n_scenes=0, n_test=0, path=CACHE)
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


def pooled(means): return RootPool()(means[:,:,None,None])


def features(name, cache):
    "Files of a set, and what the body says of them, pooled as the package does"
    files = SETS[name]()
    stored = cache/f'{name}.pt'
    if stored.exists():
        found = torch.load(stored)
        if [Path(o).name for o in found['files']]!=[o.name for o in files]:
            raise SystemExit(f'{stored} is of other pictures: delete it')
        return files, pooled(found['mean'][:,0])
    means = channel_means(files)
    cache.mkdir(parents=True, exist_ok=True)
    torch.save(dict(files=[o.name for o in files], mean=means[:,None]), stored)
    return files, pooled(means)


# --- deals: who is known, who trains, who tests

class Deal(NamedTuple):
    "Pictures with some labels known, those with one split into two parts"
    name:str       # What is dealt
    vocab:list     # Known labels
    feats:object   # Of all pictures, `(n_items, n_feat)`
    labels:list    # Of all pictures, sets; also those that are not known
    targets:object # 0/1, the known labels only
    train:object   # Positions of known pictures to train on
    test:object    # Of other known pictures
    unknown:dict   # From the name of a group to positions of pictures without a known label


def deal(name, feats, labels, vocab, groups, seed, share):
    "Known pictures are those with a label in `vocab`; `share` of them test"
    targets = encode_labels([sorted(o & set(vocab)) for o in labels], list(vocab))
    is_known = targets.bool().any(1)
    order = is_known.nonzero()[:,0]
    order = order[torch.randperm(len(order), generator=torch.Generator().manual_seed(seed))]
    n_test = round(share*len(order))
    unknown = {g: (torch.as_tensor(o) & ~is_known).nonzero()[:,0] for g,o in groups.items()}
    return Deal(name, list(vocab), feats, labels, targets, order[n_test:], order[:n_test], unknown)


def scene_labels():
    folder = data_folder()/'pascal_2007'
    tables = [read_labels(folder/f'{part}.csv') for part in ('train','test')]
    return [set(o.split()) for t in tables for o in t.labels]


def scenes(cache, n_deals=5):
    "Thirteen labels known; animals and vehicles of others"
    feats,labels = features('voc', cache)[1], scene_labels()
    groups = {name: [bool(o) and o<=group for o in labels] for name,group in
        (('animals',ANIMALS), ('vehicles',VEHICLES))}
    vocab = sorted(set().union(*labels)-ANIMALS-VEHICLES)
    for seed in range(n_deals):
        yield deal('scenes', feats, labels, vocab, groups, seed, .4)


def choices(cache, n_deals=12):
    "From 6 to 16 labels of scenes, drawn by lot, are known; whatever shows none of them is not"
    feats,labels = features('voc', cache)[1], scene_labels()
    vocab = sorted(set().union(*labels))
    gen = np.random.default_rng(11)
    for seed in range(n_deals):
        some = sorted(gen.choice(vocab, gen.integers(6, 17), replace=False).tolist())
        groups = dict(others=[bool(o) for o in labels])
        yield deal('scenes, any labels', feats, labels, some, groups, seed, .4)


def pet_photos(cache):
    "Features, labels, and the set that each photo is of"
    sets = {o: features(o, cache) for o in ('pets','dogs_other','unknown')}
    of_set = np.repeat([*sets], [len(o[0]) for o in sets.values()])
    labels = [{breed_of(f)} for f in sets['pets'][0]]
    labels += [set()]*(len(of_set)-len(labels))
    return torch.cat([o[1] for o in sets.values()]), labels, of_set


def three_breeds(cache, n_deals=6):
    "Three breeds; other breeds, dogs of still others, and photos without any pet"
    feats,labels,of_set = pet_photos(cache)
    groups = {'breeds': of_set=='pets', 'other dogs': of_set=='dogs_other', 'far': of_set=='unknown'}
    for seed in range(n_deals): yield deal('pets', feats, labels, BREEDS, groups, seed, .2)


def any_breeds(cache, n_deals=12):
    "From 6 to 16 breeds, one to three of them with many photos, the others with seven"
    feats,labels,of_set = pet_photos(cache)
    rare = sorted(set().union(*labels)-set(BREEDS))
    gen = np.random.default_rng(12)
    for seed in range(n_deals):
        common = gen.choice(BREEDS, gen.integers(1, 4), replace=False)
        others = gen.choice(rare, gen.integers(5, 14), replace=False)
        some = sorted([*common.tolist(), *others.tolist()])
        yield deal('pets, any breeds', feats, labels, some, dict(others=of_set=='pets'), seed, .2)


def drawings(cache, n_deals=6):
    "Six drawn breeds; other breeds, animals that are no pets, and things"
    files,feats = features('drawn', cache)
    kinds = np.array([breed_of(f) for f in files])
    names = dict(breeds=['Persian','samoyed'], near=['donkey','rabbit'], far=['car','ball'])
    groups = {g: np.isin(kinds, o) for g,o in names.items()}
    vocab = sorted(set(kinds)-set(chain(*names.values()))-{'bird'})
    labels = [{o} for o in kinds]
    for seed in range(n_deals): yield deal('drawn pets', feats, labels, vocab, groups, seed, .2)
