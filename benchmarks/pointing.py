"""Does a class map point at the thing? PASCAL VOC 2007 has names and boxes; the network is given the names.

`python benchmarks/pointing.py` writes nbs/results/06_voc.csv, a row for each photo and each of its labels,
and nbs/photos/voc_head.safetensors, the head that made the maps. Features are kept in build/bench"""
import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from mlc_course.cam import class_maps, grad_cam, peaks, pointing_game
from mlc_course.data import encode_labels, read_labels
from mlc_course.draw.datasets import data_folder
from mlc_course.engine.fields import cell_middles
from mlc_course.engine.networks import RootHead, build_model, find_arch
from mlc_course.engine.pictures import for_batches, normalise
from mlc_course.engine.training import fit_head

from photos import CACHE

BODY = 'efficientnet_lite2'
FOLDER = data_folder()/'pascal_2007'
NBS = Path(__file__).resolve().parent.parent/'nbs'
N_FEAT, N_CELLS, SIZE = 1280, 9, find_arch(BODY).size


# --- photos and what the body makes of them

def photos(part):
    "Names of files, their labels, and their boxes as shares of the sides"
    table = read_labels(FOLDER/f'{part}.csv')
    boxes = pd.read_csv(FOLDER/f'{part}_boxes.csv')
    sides = {name: Image.open(FOLDER/part/name).size for name in table.fname}
    for i,corners in enumerate((['x1','x2'], ['y1','y2'])):
        side = boxes.fname.map(lambda name: sides[name][i])
        boxes[corners] = boxes[corners].div(side, axis=0)
    item = {name: i for i,name in enumerate(table.fname)}
    return table, boxes.assign(item=boxes.fname.map(item))


def body(): return build_model(BODY, 1, weights='DEFAULT')[0].eval()


def feature_maps(part, names, cache):
    "The last maps of the frozen body, `(n_items, 1280, 9, 9)` in half precision"
    stored = cache/f'pointing_{part}.pt'
    if stored.exists(): return torch.load(stored)
    maps = torch.zeros(len(names), N_FEAT, N_CELLS, N_CELLS, dtype=torch.float16)
    net, stats = body(), find_arch(BODY).stats
    def look(ix, xb): maps[ix] = net(normalise(xb, stats)).half()
    errors = for_batches(look, [FOLDER/part/o for o in names], SIZE, f'looking at {part}', strict=True)
    for e in errors.values(): raise e
    cache.mkdir(parents=True, exist_ok=True)
    torch.save(maps, stored)
    return maps


# --- heads and their maps

def in_batches(fn, maps): return torch.cat([fn(o.float()) for o in maps.split(50)])


def averages(maps): return in_batches(lambda o: o.mean((2,3)), maps)


def average_head(means, targets):
    "Averages and one linear layer, as in chapter 06"
    return fit_head(nn.Linear(N_FEAT, targets.shape[1]), means, targets)


def package_head(maps, targets):
    "What the package trains on a frozen body"
    head = RootHead(N_FEAT, targets.shape[1]).eval()
    with torch.no_grad(): roots = in_batches(head[0], maps)
    fit_head(head[-1], roots, targets)
    return nn.Sequential(nn.Identity(), head).eval()


def random_weights(n_classes, seed):
    torch.manual_seed(seed)
    return nn.Linear(N_FEAT, n_classes).weight.detach()


# --- the game

def best_fixed(boxes, n_items, vocab):
    "The one place, of 20 x 20, that lies in most boxes of these photos"
    def hits(at):
        points = torch.tensor(at).expand(n_items, len(vocab), 2)
        return pointing_game(points, boxes, vocab).hit.mean()
    steps = (np.arange(20)+.5)/20
    return max(((x,y) for y in steps for x in steps), key=hits)


def on_grid(boxes, middles):
    "By item and label: does any cell's middle lie in a box? What a perfect finger on this grid would hit"
    def near(low, high):
        low,high = low.to_numpy()[:,None],high.to_numpy()[:,None]
        return ((low<=middles) & (middles<high)).any(1)
    reach = near(boxes.x1, boxes.x2) & near(boxes.y1, boxes.y2)
    return boxes.assign(reach=reach).groupby(['item','label']).reach.any()


def all_points(maps, head, package, middles, fixed, n_seeds=10):
    "From each way to point to its points, `(n_items, n_classes, 2)`"
    n_classes = len(head.weight)
    def of_weight(weight): return peaks(in_batches(lambda o: class_maps(o, weight), maps), middles)
    yield 'map', of_weight(head.weight.detach())
    yield 'package', peaks(in_batches(lambda o: grad_cam(package, o), maps), middles)
    loud = in_batches(lambda o: o.sum(1, keepdim=True), maps)
    yield 'loudest', peaks(loud, middles).expand(-1, n_classes, -1)
    yield 'centre', torch.full((len(maps),n_classes,2), .5)
    yield 'fixed place', torch.tensor(fixed).expand(len(maps), n_classes, 2)
    for seed in range(n_seeds): yield f'random {seed}', of_weight(random_weights(n_classes, seed))


def play(table, boxes, vocab, points, logits, middles):
    """A row for each photo and each of its labels. `reach`: the grid allows a hit. `random head`:
    mean of ten. `wrong`: how many labels the photo is given that it does not have"""
    for way,at in points:
        game = pointing_game(at, boxes, vocab)
        if way=='map': res = game[['item','label','chance']].copy()
        res[way] = game.hit.astype(int)
    randoms = [o for o in res.columns if o.startswith('random')]
    res['random head'] = res[randoms].mean(axis=1)
    reach = on_grid(boxes, middles.numpy())
    res['reach'] = reach.loc[list(zip(res['item'], res.label))].astype(int).to_numpy()
    column = [vocab.index(o) for o in res.label]
    res['named'] = (logits[res['item'].tolist(),column]>0).int().tolist()
    absent = encode_labels(table.labels.str.split(), vocab)==0
    wrong = ((logits>0) & absent).sum(1)
    res['wrong'] = wrong[res['item'].tolist()].tolist()
    res.insert(0, 'photo', table.fname.iloc[res['item'].tolist()].str.removesuffix('.jpg').tolist())
    return res.drop(columns=['item',*randoms])


def measure(cache):
    train, train_boxes = photos('train')
    test, test_boxes = photos('test')
    vocab = sorted(set(train_boxes.label))
    targets = encode_labels(train.labels.str.split(), vocab)
    maps = feature_maps('train', train.fname, cache)
    head, package = average_head(averages(maps), targets), package_head(maps, targets)
    middles = cell_middles(body(), SIZE)/SIZE
    maps = feature_maps('test', test.fname, cache)
    with torch.no_grad(): logits = head(averages(maps))
    fixed = best_fixed(train_boxes, len(train), vocab)
    points = all_points(maps, head, package, middles, fixed)
    return play(test, test_boxes, vocab, points, logits, middles), head, fixed


if __name__=='__main__':
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--cache', type=Path, default=CACHE, help='where features are kept')
    res, head, fixed = measure(parser.parse_args().cache)
    save_file({k: v.half() for k,v in head.state_dict().items()}, NBS/'photos/voc_head.safetensors')
    res.to_csv(NBS/'results/06_voc.csv', index=False, float_format='%.4g')
    means = res.drop(columns=['photo','label']).mean()
    print('best fixed place', fixed, means.round(3).to_string(), sep='\n')
