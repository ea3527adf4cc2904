"""What each method's silence costs, on photos of pets and on scenes, for chapter 07.

`python benchmarks/silence.py` writes nbs/results/unknown_rivals.csv (a row a deal),
unknown_curves.csv (share of known ones answered, share of unknown ones silent) and
unknown_teachers.csv (who taught silence). Five minutes with the features of benchmarks/unknown.py,
which are kept in build/bench"""
import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional as F

from mlc_course.data import species_of
from mlc_course.engine.training import fit_head, label_shares
from mlc_course.metrics import mean_ap
from mlc_course.unknown import auroc, energy, fpr_at_tpr, knn_score, log_energy, max_logit

from deals import ANIMALS, VEHICLES, scenes, three_breeds
from photos import CACHE

RESULTS = Path(__file__).resolve().parent.parent/'nbs/results'
ANSWERED = np.linspace(.5, 1, 51) # where the curves are read
INDOORS = {'bottle','chair','diningtable','pottedplant','sofa','tvmonitor'}
FAMILIES = {'animal': {'bird','cat','dog'}, 'vehicle': {'bicycle','car','motorbike'}, 'indoors': INDOORS}


# --- heads on frozen features

def spread(targets):
    "Shares for softmax: even over the labels, over all of them where there is none"
    n = targets.sum(1, keepdim=True)
    return torch.where(n>0, targets/n.clamp(min=1), 1/targets.shape[1])


def with_other(targets):
    "Shares with one more column: there is no label"
    none = (targets.sum(1, keepdim=True)==0).float()
    return F.pad(spread(targets), (0,1))*(1-none) + F.pad(torch.zeros_like(targets), (0,1), value=1)*none


def fit_softmax(feats, shares, prior=160.):
    "As `fit_head`, with the loss of softmax; gives a function"
    mean = feats.mean(0)
    scale = (feats-mean).square().mean().sqrt()+1e-6
    x = (feats-mean)/scale
    decay = min(prior/len(x), .5)
    head = nn.Linear(x.shape[1], shares.shape[1])
    for p in head.parameters(): nn.init.zeros_(p)
    opt = torch.optim.LBFGS(head.parameters(), max_iter=100, line_search_fn='strong_wolfe')
    def loss():
        opt.zero_grad()
        res = F.cross_entropy(head(x), shares) + decay*head.weight.square().sum()/2
        res.backward()
        return res
    opt.step(loss)
    head.requires_grad_(False)
    return lambda feats: head((feats-mean)/scale)


def fit_sigmoids(feats, targets):
    return fit_head(nn.Linear(feats.shape[1], targets.shape[1]), feats, targets).requires_grad_(False)


# --- methods: logits of known and unknown pictures become scores

def in_spread(score, usual): return (score-usual.mean())/usual.std()


def methods(x, y, parts, taught=None):
    "From each method to its scores of each part, and to logits to rank names by; `taught`: more features"
    trained,targets = x,y
    if taught is not None:
        trained = torch.cat([x,taught])
        targets = torch.cat([y,torch.zeros(len(taught), y.shape[1])])
    sigmoids = fit_sigmoids(trained, targets)
    softmax = fit_softmax(trained, spread(targets))
    prior = label_shares(targets)
    logits = {g: sigmoids(o) for g,o in parts.items()}
    soft = {g: softmax(o) for g,o in parts.items()}
    near = {g: knn_score(o, x, 10) for g,o in parts.items()}
    evidence = {g: log_energy(o, prior) for g,o in logits.items()}
    both = {g: in_spread(evidence[g], evidence['test'])+in_spread(near[g], near['test']) for g in parts}
    scores = {
        'surest label': {g: max_logit(o) for g,o in logits.items()},
        'energy': evidence, 'neighbours': near, 'energy + neighbours': both,
        'softmax, surest label': {g: o.softmax(1).amax(1) for g,o in soft.items()},
        'softmax, energy': {g: energy(o) for g,o in soft.items()}}
    ranks = dict.fromkeys(scores, logits['test'])
    ranks |= {name: soft['test'] for name in scores if name.startswith('softmax')}
    if taught is not None:
        other = fit_softmax(trained, with_other(targets))
        asked = {g: other(o) for g,o in parts.items()}
        scores['softmax with "other"'] = {g: energy(o[:,:-1])-o[:,-1] for g,o in asked.items()}
        ranks['softmax with "other"'] = asked['test'][:,:-1]
    return scores,ranks,logits


def two_levels(x, y, parts, families):
    "Sure of any label, or of a narrow one, where wide ones were learnt too; `families`: 0/1 columns"
    sigmoids = fit_sigmoids(x, torch.cat([y,families], 1))
    n = y.shape[1]
    logits = {g: sigmoids(o) for g,o in parts.items()}
    return {'two levels, surest label': {g: max_logit(o) for g,o in logits.items()},
        'two levels, sure of a narrow label': {g: max_logit(o[:,:n]) for g,o in logits.items()}}


# --- figures

def sampling_error(fn, known, unknown, n=200):
    "By drawing both kinds of pictures again"
    gen = torch.Generator().manual_seed(0)
    def again(x): return x[torch.randint(len(x), (len(x),), generator=gen)]
    return np.std([fn(again(known), again(unknown)) for _ in range(n)])


def silent_at(known, unknown, answered=.95): return 1-fpr_at_tpr(known, unknown, answered)


def figures(known, unknown):
    res = dict(n_known=len(known), n_unknown=len(unknown), answered=.95)
    for name,fn in dict(silent=silent_at, auroc=auroc).items():
        res |= {name: fn(known, unknown), f'{name}_error': sampling_error(fn, known, unknown)}
    return res


def at_thresh(logits, group, thresh):
    known,unknown = (logits[g].sigmoid().amax(1)>thresh for g in ('test',group))
    return dict(n_known=len(known), n_unknown=len(unknown), answered=known.float().mean().item(),
        silent=1-unknown.float().mean().item())


class Rows(list):
    "What was measured, with what all rows of a deal share"
    def add(self, scores, groups, curves=None, ranks=None, targets=None, **facts):
        for name,score in scores.items():
            for g in groups:
                row = dict(facts, group=g, method=name, **figures(score['test'], score[g]))
                if ranks: row['map'] = mean_ap(ranks[name], targets).item()
                self.append(row)
                if curves is None: continue
                curve = [silent_at(score['test'], score[g], a) for a in ANSWERED]
                points = zip(ANSWERED, curve)
                curves += [dict(facts, group=g, method=name, answered=a, silent=s) for a,s in points]


def unknown_alone(rows, curves, d, groups, families, **facts):
    "Nobody is taught by pictures without a label"
    x,y = d.feats[d.train],d.targets[d.train]
    parts = {'test': d.feats[d.test], **{g: d.feats[o] for g,o in groups.items()}}
    truth = d.targets[d.test]
    scores,ranks,logits = methods(x, y, parts)
    rows.add(scores, groups, curves, ranks, truth, taught='', **facts)
    rows.add(two_levels(x, y, parts, families[d.train]), groups, curves, taught='', **facts)
    for thresh in (.5,.95):
        for g in groups:
            shares = at_thresh(logits, g, thresh)
            rows.append(dict(facts, group=g, method=f'threshold {thresh}', taught='', **shares))


def taught_by(rows, d, groups, teachers, name, **facts):
    x,y = d.feats[d.train],d.targets[d.train]
    parts = {'test': d.feats[d.test], **{g: d.feats[o] for g,o in groups.items()}}
    scores,ranks,_ = methods(x, y, parts, d.feats[teachers])
    rows.add(scores, groups, None, ranks, d.targets[d.test], taught=name, n_taught=len(teachers), **facts)


def columns(labels, groups): # one for each group: does the picture have a label of it?
    return torch.tensor([[float(bool(o & group)) for group in groups] for o in labels])


def pets(rows, curves, cache):
    for i,d in enumerate(three_breeds(cache)):
        facts = dict(data='pets', deal=i)
        cats = {b for o in d.labels for b in o if species_of(b)=='cat'}
        dogs = {b for o in d.labels for b in o}-cats
        unknown_alone(rows, curves, d, d.unknown, columns(d.labels, (cats,dogs)), **facts)
        breeds = d.unknown['breeds']
        names = sorted({b for j in breeds for b in d.labels[j]})
        teach = set(np.random.default_rng(i).permutation(names)[::2].tolist())
        teaches = torch.tensor([bool(d.labels[j] & teach) for j in breeds])
        tests = {'breeds that did not teach': breeds[~teaches], 'other dogs': d.unknown['other dogs']}
        own = Rows()
        own.add(methods(d.feats[d.train], d.targets[d.train], {'test': d.feats[d.test],
            **{g: d.feats[o] for g,o in tests.items()}})[0], list(tests)[:1], taught='', **facts)
        rows += own
        taught_by(rows, d, tests, breeds[teaches], 'other breeds', **facts)
        taught_by(rows, d, dict(list(tests.items())[:1]), d.unknown['far'], 'everyday photos', **facts)
        print('pets', i, len(rows), flush=True)


def voc(rows, curves, cache):
    for i,d in enumerate(scenes(cache)):
        facts = dict(data='scenes', deal=i)
        unknown_alone(rows, curves, d, d.unknown, columns(d.labels, FAMILIES.values()), **facts)
        kinds = {g: sorted(o) for g,o in (('animals',ANIMALS), ('vehicles',VEHICLES))}
        for family,other in (('animals','vehicles'), ('vehicles','animals')):
            taught_by(rows, d, {family: d.unknown[family]}, d.unknown[other], other, **facts)
            for kind in kinds[family]:
                is_kind = torch.tensor([kind in d.labels[j] for j in d.unknown[family]])
                test,teach = d.unknown[family][is_kind],d.unknown[family][~is_kind]
                x,y = d.feats[d.train],d.targets[d.train]
                parts = dict(test=d.feats[d.test])
                parts[kind] = d.feats[test]
                rows.add(methods(x, y, parts)[0], [kind], taught='', **facts)
                taught_by(rows, d, {kind: test}, teach, f'other {family}', **facts)
        print('scenes', i, len(rows), flush=True)


def who_taught(df):
    "Share silent by three methods, each kind of picture the unknown one in turn, for each kind of teacher"
    unknown = dict.fromkeys(['horse','cow','sheep'], 'scenes: animals')
    unknown |= dict.fromkeys(sorted(VEHICLES), 'scenes: vehicles')
    unknown['breeds that did not teach'] = 'pets (3 breeds)'
    whole = {('animals','vehicles'): 'scenes: animals', ('vehicles','animals'): 'scenes: vehicles'}
    teachers = {'': 'nobody', 'everyday photos': 'others', 'vehicles': 'others', 'animals': 'others'}
    rows = []
    for o in df[df.method.isin(['energy','neighbours','softmax with "other"'])].itertuples():
        name = unknown.get(o.group) or whole.get((o.group,o.taught))
        who = teachers.get(o.taught, 'likes')
        if name: rows.append(dict(method=o.method, unknown=name, teachers=who, n=o.n_unknown, s=o.silent))
    keys = ['method','unknown','teachers']
    by = pd.DataFrame(rows).eval('s = s*n').groupby(keys, sort=False)[['s','n']].sum()
    return by.assign(silent=by.s/by.n).silent.reset_index()


def main(cache):
    rows,curves = Rows(),[]
    pets(rows, curves, cache)
    voc(rows, curves, cache)
    def store(name, df): df.to_csv(RESULTS/f'unknown_{name}.csv', index=False, float_format='%.4f')
    store('rivals', pd.DataFrame(rows))
    store('teachers', who_taught(pd.DataFrame(rows)))
    keys = ['data','group','method','answered']
    store('curves', pd.DataFrame(curves).groupby(keys, sort=False).silent.mean().reset_index())


if __name__=='__main__':
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--cache', type=Path, default=CACHE/'features', help='folder that keeps features')
    main(parser.parse_args().cache)
