"""The stored tables of chapter 10: contenders for rare labels, and a label whose examples are taken away.

`python benchmarks/lesson10.py`, with the names of parts for some of it, draws 10,000 further cells to test
on and writes nbs/results/10_*.csv. Learning rates and thresholds are chosen on validation cells."""
from copy import deepcopy
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from mlc_course.draw.cells import atlas_names, atlas_targets, draw_cell, draw_labels, drawn_atlas
from mlc_course.draw.cells import load_item, read_atlas
from mlc_course.data import encode_labels
from mlc_course.engine.toys import newborn, predict, train
from mlc_course.metrics import average_precision, best_threshs, exact_match, f1_by_thresh, macro_f1, mean_ap
from mlc_course.metrics import precision_recall_f1
from mlc_course.rare import asymmetric_loss, focal_loss, pos_weights, stratified_split, widen_conv
from mlc_course.sigmoid import MultiLabelHead
from mlc_course.ui.explorers_answers import demo

from parts import run_parts

RESULTS = Path(__file__).resolve().parent.parent/'nbs/results'
SIZE,EPOCHS,SEEDS = 36,6,range(3)
RATES = .0004,.001,.003,.008,.02,.05
LABELS = 'plasma membrane','mitochondria','nucleoli' # frequent: easy, middling, hard
RAREST = 'lysosomes'
COUNTS = 4,8,16,32,64,128,256
FEW = 'mitochondria',16 # examples that are left when all contenders try
FIRST = 'BCE','sampler, root','asymmetric' # these are also trained for longer
bce = F.binary_cross_entropy_with_logits


def store(name, rows):
    df = pd.DataFrame(rows)
    df.to_csv(RESULTS/f'10_{name}.csv', index=False, float_format='%.5g')
    return df


# --- cells: those of the lesson, and more to test on

def prepared(x): return x/127.5-1


def small(stain):
    side = SIZE,SIZE
    return np.array(Image.fromarray(stain).resize(side, Image.Resampling.BILINEAR))


def further_cells(n=10_000, seed=1, label=None):
    "Drawn as those of the atlas, from other seeds; all with `label`, if one is named"
    rng = np.random.RandomState(seed)
    xs,labels = [],[]
    for _ in range(n):
        names = draw_labels(rng)
        if label: names = sorted({*names, atlas_names.index(label)})
        cell = draw_cell(names, rng.randint(2**31), 48)
        xs.append(np.stack([small(o) for o in cell]))
        labels.append(names)
    return prepared(torch.from_numpy(np.stack(xs))),encode_labels(labels, list(range(28)))


class Cells:
    "The lesson's split, and the further cells"
    def __init__(self):
        root = drawn_atlas()
        df = read_atlas(root)
        self.y = atlas_targets(df)
        self.x4 = prepared(torch.stack([load_item(root, o, size=SIZE) for o in df.Id])) # four stains
        self.x = self.x4[:,:3].contiguous()
        part = stratified_split(self.y, (.6,.2,.2))
        self.train,self.valid,self.test = [(part==j).nonzero()[:,0] for j in range(3)]
        self.n = self.y.sum(0)
        self.groups = {'frequent': self.n>=300, 'middle': (self.n>=60)&(self.n<300), 'rare': self.n<60}
        self.test_x4,self.test_y = further_cells()
        self.test_x = self.test_x4[:,:3].contiguous()
        more_x,more_y = further_cells(1300, 9, RAREST) # for a test in which it is as common as others
        self.common_x = torch.cat([self.test_x, more_x[:,:3]])
        self.common_y = torch.cat([self.test_y, more_y])

    @property
    def valid_y(self): return self.y[self.valid]


# --- contenders: what each is given, and the loss it makes small

def plain(y): return dict(loss=bce)
def prior(y): return dict(loss=bce, bias=y.mean(0).logit())
def weighted(w): return dict(loss=partial(bce, pos_weight=w))
def full(y): return weighted(pos_weights(y))
def root(y): return weighted(pos_weights(y, .5))
def capped(y): return weighted(pos_weights(y).clamp_max(10))
def focal(y): return dict(loss=focal_loss, bias=y.mean(0).logit())
def asymmetric(y): return dict(loss=asymmetric_loss)


def sampler(y, power=1.):
    "A picture's chance to be drawn goes by the rarest of its labels"
    each = y.sum(0).clamp_min(1)**-power
    return dict(loss=bce, chances=(y*each).amax(1))


CONTENDERS = {'BCE': plain, 'bias at prior': prior, 'pos_weight': full, 'pos_weight, 10 at most': capped,
    'pos_weight, root': root, 'sampler': sampler, 'sampler, root': partial(sampler, power=.5),
    'focal': focal, 'asymmetric': asymmetric}


def trained(name, x, y, lr, seed, epochs=EPOCHS):
    "A network, with as many steps for each contender"
    plan,net = CONTENDERS[name](y),newborn(seed, y.shape[1])
    if 'bias' in plan: net[1][-1].bias.data = plan['bias'].clamp(-9, 9)
    if 'chances' in plan:
        gen = torch.Generator().manual_seed(seed)
        drawn = torch.multinomial(plan['chances'], epochs*len(x), replacement=True, generator=gen)
        x,y,epochs = x[drawn],y[drawn],1
    return train(net, x, y, plan['loss'], seed, epochs, lr)


def probs_of(net, x): return torch.cat([predict(net, part) for part in x.split(500)]).sigmoid()


# --- equal budgets, and each contender's own learning rate

def one_thresh(probs, y):
    grid = torch.linspace(.01, .95, 95)
    return grid[f1_by_thresh(probs, y, grid).mean(1).argmax()]


def by_group(cells, values): return {name: values[o].nanmean().item() for name,o in cells.groups.items()}


def f1_by_group(cells, *args): return by_group(cells, precision_recall_f1(*args)[:,2].nan_to_num())


def measured(cells, valid_probs, probs):
    "Test figures, thresholds from validation cells; `claimed`: their F1 there, `kept`: on test cells"
    valid,test = (valid_probs,cells.valid_y),(probs,cells.test_y)
    own = best_threshs(*valid)
    row = dict(mAP=mean_ap(*test).item(), **by_group(cells, average_precision(*test)))
    for name,thresh in {'half': .5, 'one': one_thresh(*valid), 'own': own}.items():
        row[f'f1_{name}'] = macro_f1(*test, thresh).item()
        row[f'exact_{name}'] = exact_match(*test, thresh).item()
    for which,answers in dict(claimed=valid, kept=test).items():
        row |= {f'{which}_{group}': f1 for group,f1 in f1_by_group(cells, *answers, own).items()}
    return row


def ahead(cells, probs, n=100):
    "How far each contender is ahead of BCE, mean of seeds, and how far that moves with the test cells"
    gen = torch.Generator().manual_seed(0)
    n_cells = len(cells.test_y)
    draws = [torch.arange(n_cells)]+[torch.randint(n_cells, (n_cells,), generator=gen) for _ in range(n)]
    groups = {'all': cells.n>0, **cells.groups}
    def aps(name, draw): # (n_classes,), mean of seeds
        return torch.stack([average_precision(p[draw], cells.test_y[draw]) for p in probs[name]]).mean(0)
    rows,base = [],[aps('BCE', draw) for draw in draws]
    for name in probs:
        if name=='BCE': continue
        gain = torch.stack([aps(name, draw) for draw in draws])-torch.stack(base)
        for group,which in groups.items():
            gains = gain[:,which].nanmean(1)
            lead,error = gains[0].item(),gains[1:].std().item()
            rows.append(dict(contender=name, group=group, ahead=lead, error=error))
    return rows


def best_rate(measure):
    "From the three rates in the middle on: while the best is at an end, the next one is tried, too"
    first,last = 2,4
    while True:
        means = [measure(lr) for lr in RATES[first:last+1]]
        best = first+means.index(max(means))
        if best==first>0: first -= 1
        elif best==last<len(RATES)-1: last += 1
        else: return RATES[best]


def contenders(cells):
    "Each learning rate with three seeds; the one with the best validation mAP goes to the test"
    lrs,rows,probs = [],[],{}
    x,y = cells.x[cells.train],cells.y[cells.train]
    for name in CONTENDERS:
        nets,on_valid,aps = {},{},{}
        def measure(lr):
            for seed in SEEDS:
                if (lr,seed) in nets: continue
                nets[lr,seed] = trained(name, x, y, lr, seed)
                on_valid[lr,seed] = probs_of(nets[lr,seed], cells.x[cells.valid])
                aps[lr,seed] = mean_ap(on_valid[lr,seed], cells.valid_y).item()
            return sum(aps[lr,seed] for seed in SEEDS)
        best = best_rate(measure)
        lrs += [dict(contender=name, lr=lr, seed=seed, valid=ap) for (lr,seed),ap in aps.items()]
        probs[name] = [probs_of(nets[best,seed], cells.test_x) for seed in SEEDS]
        for seed in SEEDS:
            figures = measured(cells, on_valid[best,seed], probs[name][seed])
            rows.append(dict(contender=name, lr=best, seed=seed, valid=aps[best,seed], **figures))
        shown = ['contender','lr','valid','mAP','rare','f1_half','f1_own']
        print(pd.DataFrame(rows[-3:])[shown], flush=True)
    store('lr', lrs)
    store('contenders', rows)
    print(store('difference', ahead(cells, probs)), flush=True)


def longer(cells):
    "As many steps and three times as many, at the learning rates that were chosen"
    rows,x,y = [],cells.x[cells.train],cells.y[cells.train]
    rarest = atlas_names.index(RAREST)
    for name in FIRST:
        for epochs in (EPOCHS,3*EPOCHS):
            for seed in SEEDS:
                probs = probs_of(trained(name, x, y, best_lr(name), seed, epochs), cells.test_x)
                aps = average_precision(probs, cells.test_y)
                row = dict(contender=name, seed=seed, epochs=epochs, mAP=aps.nanmean().item())
                rows.append(row | by_group(cells, aps) | {RAREST: aps[rarest].item()})
                print(rows[-1], flush=True)
    store('longer', rows)


# --- one label, and fewer and fewer of its examples

def with_few(cells, label, n, seed):
    "Training cells of which `n` have the label, as many cells for each `n`; the rarest label gets new ones"
    x,y = cells.x[cells.train],cells.y[cells.train]
    has = y[:,atlas_names.index(label)]>0
    gen = torch.Generator().manual_seed(seed)
    def shuffled(ix): return ix[torch.randperm(len(ix), generator=gen)]
    have,lack = [shuffled(o.nonzero()[:,0]) for o in (has,~has)]
    lack = lack[:len(lack)-n]
    x,y,x_lack,y_lack = x[have[:n]],y[have[:n]],x[lack],y[lack]
    if len(x)<n:
        more_x,more_y = further_cells(n-len(x), 2+seed, label)
        x,y = torch.cat([x, more_x[:,:3]]),torch.cat([y, more_y])
    return torch.cat([x, x_lack]),torch.cat([y, y_lack])


def best_lr(name):
    df = pd.read_csv(RESULTS/'10_contenders.csv').drop_duplicates('contender').set_index('contender')
    return df.lr[name]


def ap_of(cells, label, name, n, seed, common=False, epochs=EPOCHS):
    "Average precision of the label on test cells, and how far it moves with these"
    x,targets = with_few(cells, label, n, seed)
    net = trained(name, x, targets, best_lr(name), seed, epochs)
    k = [atlas_names.index(label)]
    test_x,test_y = (cells.common_x,cells.common_y) if common else (cells.test_x,cells.test_y)
    probs,y = probs_of(net, test_x)[:,k],test_y[:,k]
    gen = torch.Generator().manual_seed(0)
    draws = [torch.randint(len(y), (len(y),), generator=gen) for _ in range(100)]
    error = torch.stack([mean_ap(probs[o], y[o]) for o in draws]).std().item()
    row = dict(label=label, contender=name, n=n, seed=seed, ap=mean_ap(probs, y).item(), error=error,
        chance=y.mean().item(), pictures=len(x))
    if epochs!=EPOCHS: row['epochs'] = epochs
    print(row, flush=True)
    return row


def examples(cells):
    "BCE with more and more examples; the rarest label is tested where it is common, too"
    def curve_of(label, common=False):
        rows = [ap_of(cells, label, 'BCE', n, seed, common) for n in COUNTS for seed in SEEDS]
        if common: rows = [row | dict(label=f'{label}, common in the test') for row in rows]
        return rows
    rows = sum(map(curve_of, [*LABELS,RAREST]), [])
    store('examples', rows + curve_of(RAREST, True))


def worth(cells):
    "All contenders, where few examples of a label are left"
    label,n = FEW
    rows = [ap_of(cells, label, name, n, seed) for name in CONTENDERS for seed in SEEDS]
    store('worth', rows)


def worth_longer(cells):
    "The first three again with three times as many steps, and plain BCE with four times as many examples"
    label,n = FEW
    runs = [*[(name,n) for name in FIRST], ('BCE',4*n)]
    def ap(run, seed): return ap_of(cells, label, *run, seed, epochs=3*EPOCHS)
    store('worth_longer', [ap(run, seed) for run in runs for seed in SEEDS])


def nucleoli(cells):
    "The hardest of the curves, with three times as many steps"
    rows = [ap_of(cells, 'nucleoli', 'BCE', COUNTS[-1], seed, epochs=3*EPOCHS) for seed in SEEDS]
    store('nucleoli', rows)


# --- what exercises 3 and 4 print, and other seeds

def in_lesson(cells, label, n, times=1):
    "The lesson's `with_few` and `with_copies`, tested on its own test cells"
    k = atlas_names.index(label)
    has = cells.y[cells.train,k]>0
    have,lack = cells.train[has][:n],cells.train[~has]
    ix = torch.cat([have.repeat(times), lack[:len(lack)-n*times]])
    rows = []
    for seed in SEEDS:
        net = trained('BCE', cells.x[ix], cells.y[ix], 8e-3, seed)
        ap = mean_ap(probs_of(net, cells.x[cells.test])[:,[k]], cells.y[cells.test][:,[k]]).item()
        rows.append(dict(label=label, n=n, times=times, seed=seed, ap=ap))
        print(rows[-1], flush=True)
    return rows


def exercises(cells):
    copies = ('mitochondria',16),('mitochondria',16,16),('mitochondria',256)
    asked = *copies,('plasma membrane',4),('cytosol',4)
    store('exercises', [row for o in asked for row in in_lesson(cells, *o)])


# --- four stains for a body that was trained on three colours: nbs/deeper/channels.ipynb

def fresh_conv(conv):
    has_bias = conv.bias is not None
    return nn.Conv2d(4, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, bias=has_bias)


FIRST_LAYERS = {'three stains': lambda conv: conv, 'widened': lambda conv: widen_conv(conv, 4),
    'fresh layer': fresh_conv, 'all fresh': fresh_conv}


def on_demo_body(way, seed):
    "A network on the body of the demo model, which knows drawn cats and dogs; or on an untrained one"
    body = newborn(seed)[0] if way=='all fresh' else deepcopy(demo().clf.model[0])
    torch.manual_seed(seed)
    body[0][0] = FIRST_LAYERS[way](body[0][0])
    return nn.Sequential(body, MultiLabelHead(192, 28))


def channels(cells):
    "Test mAP of each first layer, at the learning rate that is best on validation cells"
    rows,ix,rates = [],cells.train[:1000],RATES[2:5]
    for way in FIRST_LAYERS:
        def stains(x): return x[:,:3] if way=='three stains' else x
        nets,aps = {},{}
        for lr in rates:
            for seed in SEEDS:
                net = on_demo_body(way, seed)
                nets[lr,seed] = train(net, stains(cells.x4[ix]), cells.y[ix], bce, seed, EPOCHS, lr)
                aps[lr,seed] = mean_ap(probs_of(net, stains(cells.x4[cells.valid])), cells.valid_y).item()
                print(way, lr, seed, round(aps[lr,seed], 3), flush=True)
        lr = max(rates, key=lambda lr: sum(aps[lr,seed] for seed in SEEDS))
        for seed in SEEDS:
            probs = probs_of(nets[lr,seed], stains(cells.test_x4))
            rows.append(dict(body='demo_body', first=way, lr=lr, seed=seed, cells=len(ix),
                valid=aps[lr,seed], mAP=mean_ap(probs, cells.test_y).item()))
    store('channels', rows)


PARTS = dict(contenders=contenders, longer=longer, examples=examples, worth=worth, worth_longer=worth_longer,
    nucleoli=nucleoli, exercises=exercises, channels=channels)


if __name__=='__main__':
    torch.set_num_threads(1)
    run_parts(PARTS, __doc__, Cells)
