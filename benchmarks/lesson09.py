"""The stored tables of chapter 09 and of nbs/deeper/counting_further.ipynb: each part trains and writes one.

`FASTAI_HOME=../shared TORCH_HOME=../shared/weights python benchmarks/lesson09.py`, with the names of
parts for some of it, writes nbs/results/09_*.csv. `drawn` and `why` need drawings only, `cards` photos
with boxes and SqueezeNet's weights. Nothing is chosen on test pictures."""
from copy import deepcopy
from pathlib import Path

import pandas as pd
import torch
from PIL import Image
from sklearn.isotonic import IsotonicRegression
from torch import tensor
from torch.nn import functional as F

from mlc_course.cam import fine_cnn
from mlc_course.counting import PresenceAndCount, count_targets, density_maps, joint_loss
from mlc_course.data import scene_table
from mlc_course.draw.animals import breeds
from mlc_course.draw.herds import herds
from mlc_course.engine.pictures import normalise, picture_tensor
from mlc_course.engine.toys import train
from mlc_course.loss import bce_with_logits
from mlc_course.metrics import best_threshs, mean_ap

from parts import run_parts

RESULTS = Path(__file__).resolve().parent.parent/'nbs/results'
VALID,TEST = slice(2400, 3000),slice(3000, 4000)
PARTS_OF = dict(valid=VALID, test=TEST)


def store(name, rows): pd.DataFrame(rows).to_csv(RESULTS/f'09_{name}.csv', index=False, float_format='%.4f')


# --- what a network is taught

def names_loss(outputs, counts): return joint_loss(outputs, (counts>0).float(), counts, weight=0)


def count_loss(weight):
    def loss(outputs, counts): return joint_loss(outputs, (counts>0).float(), counts, weight)
    return loss


def map_loss(outputs, density):
    counts = density.sum((2,3)).round()
    return joint_loss(outputs, (counts>0).float(), counts, density=density)


def smooth_loss(outputs, counts):
    return bce_with_logits(outputs[0], (counts>0).float()) + .3*F.smooth_l1_loss(outputs[1], counts)


def density_of(objects, n, size, clicks=False):
    "Maps of `n` scenes; `clicks`: only the middle of each box is known"
    res = torch.zeros(n, len(breeds), 8, 8)
    for i,rows in objects.groupby('fname'):
        boxes = list(rows.box)
        if clicks: boxes = [((x1+x2)/2,(y1+y2)/2)*2 for x1,y1,x2,y2 in boxes]
        res[i] = density_maps(boxes, list(rows.label), breeds, (size,size), (8,8))
    return res


# --- scores

def ask(net, x):
    "Logits and counts"
    with torch.no_grad(): found = [net(part) for part in x.split(500)]
    if torch.is_tensor(found[0]): return torch.cat(found),None
    return [torch.cat(o) for o in list(zip(*found))[:2]]


def one_curve(scores, counts, new):
    "The mean count at each score, on pictures that set the curve, for `new` scores"
    curve = IsotonicRegression(out_of_bounds='clip').fit(scores.flatten().numpy(), counts.flatten().numpy())
    return tensor(curve.predict(new.flatten().numpy())).float().view(new.shape)


def curve_each(scores, counts, new):
    "With a curve for each label"
    columns = zip(scores.T, counts.T, new.T)
    return torch.stack([one_curve(*each) for each in columns], 1)


def scores_of(preds, counts):
    "Right where the label is there, mean error there, and over all; mean answer by true count"
    there = counts>0
    off = preds.round()-counts
    res = dict(right=(off[there]==0).float().mean(), off=off[there].abs().mean(), all=off.abs().mean(),
        invented=(preds.round()[~there]>0).float().mean(), off_plain=(preds-counts)[there].abs().mean(),
        all_plain=(preds-counts).abs().mean())
    res |= {f'mean_{k}': preds[counts==k].mean() for k in range(1, 6)}
    return {name: float(value) for name,value in res.items()}


# --- drawn scenes

class Scenes:
    def __init__(self):
        x,self.objects = herds()
        self.x = x/127.5-1
        self.counts = count_targets(self.objects, range(4000), breeds)
        self.targets = (self.counts>0).float()
        self.boxes = density_of(self.objects, 4000, 64)
        self.clicks = density_of(self.objects, 4000, 64, clicks=True)
        self.few = (self.counts.sum(1)<=3).nonzero()[:,0]


def start(s, ix, seed):
    "A network that names, after five epochs"
    torch.manual_seed(seed)
    net = fine_cnn(8, (16,32,64,96), (2,2,2,1))
    return train(net, s.x[ix], s.targets[ix], bce_with_logits, seed, epochs=5)


def only_names(s, ix, begun, seed):
    "Four more epochs of names"
    return train(deepcopy(begun), s.x[ix], s.targets[ix], bce_with_logits, 100+seed)


def counting(s, ix, begun, seed, y, loss, pool='sum'):
    "Four more epochs of names and counts, from a copy with a second head"
    torch.manual_seed(10+seed)
    net = PresenceAndCount(deepcopy(begun[0]), 96, 8, pool)
    net.presence = deepcopy(begun[1])
    return train(net, s.x[ix], y[ix], loss, 100+seed, maps=y.ndim==4)


def wide_ratio(net, x, counts):
    "All animals predicted in pairs of scenes side by side, by how many there are"
    left,right = x.chunk(2)
    return (ask(net, torch.cat([left,right], 3))[1].sum()/counts.sum()).item()


def asked(s, net):
    "Logits and counts, by part"
    both = {part: ask(net, s.x[rows]) for part,rows in PARTS_OF.items()}
    return [{part: o[i] for part,o in both.items()} for i in range(2)]


def curved(curve, scores, s):
    "Through curves that validation scenes set; for those scenes themselves, each half by the other's"
    c,even = s.counts[VALID],torch.arange(600)%2==0
    valid = torch.zeros_like(c)
    for half in (even,~even): valid[half] = curve(scores['valid'][~half], c[~half], scores['valid'][half])
    return dict(valid=valid, test=curve(scores['valid'], c, scores['test']))


def rows_of(s, which, preds, logits):
    "Scores of one contender on both sets"
    res = []
    for part,rows in PARTS_OF.items():
        mAP = mean_ap(logits[part], s.targets[rows]).item()
        res.append(dict(which, part=part, mAP=mAP, **scores_of(preds[part], s.counts[rows])))
    return res


def lazy(s, ix, logits):
    "What needs no counting: nothing, one wherever named, and the mean where named"
    threshs = best_threshs(logits['valid'].sigmoid(), s.targets[VALID])
    named = {part: (z.sigmoid()>threshs).float() for part,z in logits.items()}
    mean = s.counts[ix].sum(0)/s.targets[ix].sum(0)
    return {'always 0': {part: 0*o for part,o in named.items()}, '1 wherever named': named,
        'named × mean': {part: o*mean for part,o in named.items()}}


def ways(s, taught):
    "Of each head: what it learns from, its loss, its pooling, the weight of counts"
    res = {'average': (s.counts, count_loss(.3), 'avg', .3), 'sum': (s.counts, count_loss(.3), 'sum', .3),
        'sum + boxes': (s.boxes, map_loss, 'sum', .3)}
    if taught=='few': return res
    res |= {'sum + clicks': (s.clicks, map_loss, 'sum', .3), 'smooth L1': (s.counts, smooth_loss, 'sum', .3)}
    return res | {f'sum, weight {w}': (s.counts, count_loss(w), 'sum', w) for w in (.1,1.,3.)}


CURVES = {'one curve': one_curve, 'a curve each': curve_each}


def drawn():
    s,rows = Scenes(),[]
    every = torch.arange(2400)
    for seed in range(3):
        for taught,ix in dict(all=every, few=s.few[s.few<2400]).items():
            begun = start(s, ix, seed)
            logits,_ = asked(s, only_names(s, ix, begun, seed))
            which = dict(seed=seed, taught=taught, weight=0.)
            unasked = lazy(s, ix, logits)
            for name,curve in CURVES.items(): unasked[f'logit, {name}'] = curved(curve, logits, s)
            for name,preds in unasked.items(): rows += rows_of(s, dict(which, method=name), preds, logits)
            for name,(y,loss,pool,weight) in ways(s, taught).items():
                net = counting(s, ix, begun, seed, y, loss, pool)
                logits,preds = asked(s, net)
                wide = wide_ratio(net, s.x[TEST], s.counts[TEST])
                which = dict(seed=seed, taught=taught, weight=weight, wide=wide)
                rows += rows_of(s, dict(which, method=name), preds, logits)
                for kind,curve in CURVES.items():
                    through = curved(curve, preds, s)
                    rows += rows_of(s, dict(which, method=f'{name}, {kind}'), through, logits)
            print(seed, taught, flush=True)
    store('drawn', rows)


# --- why a head needs a curve

def count_alone(outputs, counts): return count_loss(1)(outputs, counts)-names_loss(outputs, counts)


def taught_as(s, begun, seed, pool='sum', loss=None, epochs=4, hidden=0):
    "As `counting`; `hidden`: channels of a layer before the rates"
    torch.manual_seed(10+seed)
    net = PresenceAndCount(deepcopy(begun[0]), 96, 8, pool)
    net.presence = deepcopy(begun[1])
    if hidden:
        rate = torch.nn.Conv2d(hidden, 8, 1)
        torch.nn.init.constant_(rate.bias, net.count.rate.bias[0].item())
        net.count.rate = torch.nn.Sequential(torch.nn.Conv2d(96, hidden, 1), torch.nn.ReLU(), rate)
    learn = slice(2400)
    return train(net, s.x[learn], s.counts[learn], loss or count_loss(.3), 100+seed, epochs=epochs)


WHYS = {'4 epochs': {}, '12 epochs': dict(epochs=12), 'counts alone': dict(loss=count_alone),
    'a hidden layer': dict(hidden=64)}


def why():
    "Scores as they are and through a curve, on the scenes of the test and of the training"
    s,rows = Scenes(),[]
    for seed in range(3):
        begun = start(s, torch.arange(2400), seed)
        for pool in 'avg','sum':
            for way,kw in WHYS.items():
                net = taught_as(s, begun, seed, pool, **kw)
                _,valid = ask(net, s.x[VALID])
                for part,ix in dict(test=TEST, learn=slice(2400)).items():
                    logits,preds = ask(net, s.x[ix])
                    for curved in False,True:
                        if curved: preds = one_curve(valid, s.counts[VALID], preds)
                        which = dict(seed=seed, pool=pool, way=way, part=part, curve=curved)
                        mAP = mean_ap(logits, s.targets[ix]).item()
                        rows.append(dict(which, mAP=mAP, **scores_of(preds, s.counts[ix])))
                print(seed, pool, way, flush=True)
    store('why', rows)


# --- playing cards

def card_set(side=192):
    "Pictures, counts, maps of 11 by 11 cells, and which are for validation"
    t = scene_table('cards')
    stats = [.485,.456,.406],[.229,.224,.225]
    x = torch.stack([picture_tensor(t.pictures/o, side) for o in t.df.fname])
    maps = []
    for name in t.df.fname:
        mine = t.objects[t.objects.fname==name]
        boxes = mine[['x1','y1','x2','y2']].to_numpy()
        size = Image.open(t.pictures/name).size
        maps.append(density_maps(boxes, list(mine.label), t.vocab, size, (11,11)))
    counts = count_targets(t.objects, t.df.fname, t.vocab)
    return normalise(x, stats),counts,torch.stack(maps),tensor(t.df.is_valid.tolist()),t.vocab


def fit(net, feats, y, loss, seed, epochs=7, bs=16, lr=1e-3):
    "As `train`, without mirroring: cards hold letters"
    torch.manual_seed(seed)
    opt = torch.optim.AdamW(net.parameters(), lr)
    batches = torch.cat([torch.randperm(len(feats)) for _ in range(epochs)]).split(bs)
    sched = torch.optim.lr_scheduler.OneCycleLR(opt, lr, total_steps=len(batches))
    for ix in batches:
        loss(net(feats[ix]), y[ix]).backward()
        opt.step()
        opt.zero_grad()
        sched.step()
    return net.eval()


def card_net(upper, n_classes, pool, seed, begun=None):
    torch.manual_seed(seed)
    net = PresenceAndCount(deepcopy(upper if begun is None else begun.body), 512, n_classes, pool)
    net.count.rate.weight.data.mul_(.1) # 512 large features: else the first counts are wild
    if begun: net.presence = deepcopy(begun.presence)
    return net


def cards():
    "SqueezeNet's lower layers as they are; its upper ones learn names, then names and counts"
    from torchvision.models import squeezenet1_0
    x,counts,maps,is_valid,vocab = card_set()
    layers = squeezenet1_0(weights='DEFAULT').features
    with torch.no_grad(): feats = torch.cat([layers[:7](o) for o in x.split(16)])
    upper = layers[7:]
    f,c,d = [o[~is_valid] for o in (feats,counts,maps)]
    fv,cv = feats[is_valid],counts[is_valid]
    fold = torch.randperm(len(f), generator=torch.Generator().manual_seed(0))%4
    rows = []
    for seed in range(3):
        def names(ix): return fit(card_net(upper, 6, 'sum', seed), f[ix], c[ix], names_loss, seed)
        def more_names(ix):
            net = card_net(upper, 6, 'sum', seed+1, names(ix))
            return fit(net, f[ix], c[ix], names_loss, seed+1)
        every = torch.arange(len(f))
        begun = names(every)
        unseen = torch.zeros_like(c) # logits of training photos, from networks that did not learn from them
        for k in range(4): unseen[fold==k] = ask(more_names(every[fold!=k]), f[fold==k])[0]
        z = ask(more_names(every), fv)[0]
        present = c.sum(0)/(c>0).sum(0)
        preds = {'always 0': z*0, '1 wherever named': (z>0).float(), 'named × mean': (z>0)*present,
            'logit, one curve': one_curve(unseen, c, z)}
        by_names = mean_ap(z, (cv>0).float()).item()
        mAPs = dict.fromkeys(['1 wherever named','named × mean','logit, one curve'], by_names)
        ways = {'average': (c, count_loss(.3), 'avg'), 'sum': (c, count_loss(.3), 'sum'),
            'sum + boxes': (d, map_loss, 'sum')}
        for name,(y,loss,pool) in ways.items():
            zn,preds[name] = ask(fit(card_net(upper, 6, pool, seed+1, begun), f, y, loss, seed+1), fv)
            mAPs[name] = mean_ap(zn, (cv>0).float()).item()
        for name,p in preds.items():
            rows.append(dict(photos='cards', seed=seed, method=name, mAP=mAPs.get(name), **scores_of(p, cv)))
        print(seed, flush=True)
    store('counting_real', rows)


PARTS = dict(drawn=drawn, why=why, cards=cards)


if __name__=='__main__': run_parts(PARTS, __doc__)
