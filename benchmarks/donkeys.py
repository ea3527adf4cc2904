"""A hundred donkeys: who stays silent, and who taught it, on drawn pets, with several seeds, for chapter 07.

`python benchmarks/donkeys.py` writes nbs/results/unknown_drawn.csv and unknown_breeds_out.csv (5 minutes),
`python benchmarks/donkeys.py more` unknown_more.csv, which asks about 800 more donkeys (2 minutes)"""
import sys
from pathlib import Path

import pandas as pd
import torch
from fastai.vision.all import DataBlock, ImageBlock, MultiCategoryBlock, RandomSplitter, Resize
from torch.nn import functional as F

from mlc_course.data import breed_of, encode_labels, pets
from mlc_course.draw.scenes import draw_portrait
from mlc_course.engine.networks import RootPool
from mlc_course.engine.toys import newborn, predict, train
from mlc_course.unknown import (auroc, energy, fpr_at_tpr, is_silent, keep_thresh, knn_score, log_energy,
    max_logit)

RESULTS = Path(__file__).resolve().parent.parent/'nbs/results'
KINDS = 'donkey','rabbit','bird','car','ball'
TEACHERS = {'nobody': (), 'all but donkeys': ('rabbit','bird','car','ball'), 'animals': ('rabbit','bird'),
    'things': ('car','ball')}
PLANS = [('sigmoids',who) for who in TEACHERS]
PLANS += [('softmax','nobody'), ('softmax','all but donkeys'), ('softmax with "other"','all but donkeys')]


# --- pictures, as chapter 07 splits them

def pictures(more=False):
    "Vocab, pictures of each part, and 0/1 rows of those with a breed; `more`: also 800 new donkeys"
    data = pets('drawn')
    test = data.files[::4]
    rest = sorted(set(data.files)-set(test))
    block = DataBlock((ImageBlock,MultiCategoryBlock), get_y=lambda file: [breed_of(file)],
        splitter=RandomSplitter(seed=0), item_tfms=Resize(48))
    dls = block.dataloaders(rest, num_workers=0)
    known = dict(train=list(dls.train.items), valid=list(dls.valid.items), test=test)
    unknown = {kind: [o for o in data.unknown if breed_of(o)==kind] for kind in KINDS}
    if more: unknown['more donkeys'] = [draw_portrait('donkey', 700_000+i, 96)[0] for i in range(800)]
    def pixels(files): return torch.cat([xb for xb, in dls.test_dl(files)]).as_subclass(torch.Tensor)
    x = {part: pixels(files) for part,files in {**known, **unknown}.items()}
    y = {part: encode_labels([[breed_of(o)] for o in files], data.vocab) for part,files in known.items()}
    return data.vocab,x,y


# --- trainings

def softmax_loss(logits, targets):
    "The target of a picture without a label is spread evenly"
    n = targets.sum(1, keepdim=True)
    return F.cross_entropy(logits, torch.where(n>0, targets, 1/targets.shape[1]))


def other_loss(logits, targets):
    "The last column is a class of its own, for pictures without a label"
    none = (targets.sum(1, keepdim=True)==0).float()
    return F.cross_entropy(logits, torch.cat([targets,none], 1))


LOSSES = {'sigmoids': F.binary_cross_entropy_with_logits, 'softmax': softmax_loss,
    'softmax with "other"': other_loss}


def trained(x, y, loss, seed, teachers=(), left_out=None):
    "`teachers`: kinds shown with no label; `left_out`: the column of a breed that is not shown"
    xs,ys = x['train'],y['train']
    if left_out is not None:
        stays = ys[:,left_out]==0
        xs,ys = xs[stays],ys[stays]
    if teachers:
        shown = torch.cat([x[kind] for kind in teachers])
        xs,ys = torch.cat([xs,shown]),torch.cat([ys,torch.zeros(len(shown), ys.shape[1])])
    n_classes = ys.shape[1] + ('other' in loss)
    return train(newborn(seed, n_classes), xs, ys, LOSSES[loss], seed, epochs=10)


# --- rules: how known does a picture look?

@torch.no_grad()
def logits_and_feats(net, x):
    maps = net[0](x)
    return net[1](maps),RootPool()(maps)


def scores_of(net, loss, x):
    "From each rule to its scores of each part"
    seen = {part: logits_and_feats(net, o) for part,o in x.items()}
    logits,feats = [{part: o[i] for part,o in seen.items()} for i in (0,1)]
    def each(rule): return {part: rule(o) for part,o in logits.items()}
    near = {part: knn_score(o, feats['train'], 10) for part,o in feats.items()}
    if 'other' in loss: return {'not "other"': each(lambda z: energy(z[:,:-1])-z[:,-1]), 'neighbours': near}
    if loss=='softmax':
        return {'surest label': each(lambda z: z.softmax(1).amax(1)), 'energy': each(energy),
            'neighbours': near}
    evidence = each(log_energy)
    def sum_of(part): return sum((o[part]-o['valid'].mean())/o['valid'].std() for o in (evidence,near))
    return {'surest label': each(max_logit), 'energy': evidence, 'neighbours': near,
        'energy + neighbours': {part: sum_of(part) for part in x}}


# --- figures

def share(o): return o.float().mean().item()


def by_score(net, loss, x, kinds=KINDS, half=None, **facts):
    """`silent`: below the score that 95 % of the test portraits reach, the same price for all;
    `silent_at_cut` and `answered`: with a cut from the validation portraits;
    `silent_at_half`: where it answers as many test portraits as a threshold of 0.5, the share `half`"""
    for rule,s in scores_of(net, loss, x).items():
        cut = keep_thresh(s['valid'], .95)
        for kind in kinds:
            row = dict(facts, loss=loss, rule=rule, kind=kind, auroc=auroc(s['test'], s[kind]),
                silent=1-fpr_at_tpr(s['test'], s[kind]), silent_at_cut=share(s[kind]<cut),
                answered=share(s['test']>=cut))
            if half: row['silent_at_half'] = 1-fpr_at_tpr(s['test'], s[kind], half)
            yield row


def by_thresh(net, x, y, kinds=KINDS, **facts):
    known = predict(net, x['test']).sigmoid()
    for t in (.5,.95):
        right = ((known>t)==(y['test']>.5)).all(1)
        for kind in kinds:
            unknown = predict(net, x[kind]).sigmoid()
            yield dict(facts, loss='sigmoids', rule=f'threshold {t}', kind=kind, right=share(right),
                silent_at_cut=share(is_silent(unknown, t)), answered=share((known>t).any(1)))


def five_seeds(x, y):
    for seed in range(5):
        for loss,who in PLANS:
            net = trained(x, y, loss, seed, TEACHERS[who])
            facts = dict(seed=seed, taught_by=who)
            yield from by_score(net, loss, x, **facts)
            if loss=='sigmoids': yield from by_thresh(net, x, y, **facts)
        print('seed', seed, flush=True)


def each_kind(x, y):
    "Every other kind plays the donkey: only it is new"
    for seed in range(3):
        for kind in KINDS[1:]:
            net = trained(x, y, 'sigmoids', seed, [o for o in KINDS if o!=kind])
            facts = dict(kinds=[kind], seed=seed, taught_by='all other kinds')
            yield from by_score(net, 'sigmoids', x, **facts)
            yield from by_thresh(net, x, y, **facts)


def breeds_out(vocab, x, y):
    "Each breed plays the unknown one, in a network that four kinds teach and that has never seen it"
    for seed in range(3):
        for i,breed in enumerate(vocab):
            net = trained(x, y, 'sigmoids', seed, TEACHERS['all but donkeys'], left_out=i)
            s = {part: log_energy(predict(net, x[part])) for part in ('valid','test','donkey')}
            out = {part: y[part][:,i]==1 for part in ('valid','test')}
            cut = keep_thresh(s['valid'][~out['valid']], .95)
            new = torch.cat([s[part][o] for part,o in out.items()])
            yield dict(seed=seed, left_out=breed, n=len(new), silent=share(new<cut),
                donkeys=share(s['donkey']<cut))


def more_donkeys(x, y):
    "The hundred donkeys, and 800 more: what did the first hundred leave to luck?"
    kinds = 'donkey','more donkeys'
    for seed in range(5):
        for who in ('nobody','all but donkeys'):
            for loss in ('sigmoids','softmax'):
                net = trained(x, y, loss, seed, TEACHERS[who])
                facts = dict(kinds=kinds, seed=seed, taught_by=who)
                half = share((predict(net, x['test'])>0).any(1)) if loss=='sigmoids' else None
                yield from by_score(net, loss, x, half=half, **facts)
                if loss=='sigmoids': yield from by_thresh(net, x, y, **facts)
        print('seed', seed, flush=True)


def store(name, rows):
    pd.DataFrame(rows).to_csv(RESULTS/f'unknown_{name}.csv', index=False, float_format='%.4f')


def of_donkeys(row):
    "Who has taught all but the donkeys is, for the donkeys, all other kinds"
    if 'donkey' in row['kind'] and row['taught_by']=='all but donkeys': row['taught_by'] = 'all other kinds'
    return row


def main():
    more = sys.argv[1:]==['more']
    vocab,x,y = pictures(more)
    if more: return store('more', map(of_donkeys, more_donkeys(x, y)))
    print({part: len(o) for part,o in x.items()}, flush=True)
    store('drawn', map(of_donkeys, [*five_seeds(x, y), *each_kind(x, y)]))
    store('breeds_out', breeds_out(vocab, x, y))


if __name__=='__main__': main()
