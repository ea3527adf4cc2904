"""How well each method of `engine.scores` tells known from unknown pictures, whether rehearsal tells the
truth, and how many known pictures are answered.

`python benchmarks/unknown.py`, with `methods`, `told` or `resplits` for some of it, writes
nbs/results/unknown_*.csv, told.png and tables in README.md. Features are kept in build/bench"""
import argparse
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from mlc_course.engine.decision import Decision
from mlc_course.engine.folds import seeded_folds
from mlc_course.engine.rehearsal import best_rule, rehearse
from mlc_course.engine.scores import RIVALS, Known
from mlc_course.engine.training import cross_fit, fit_head, label_shares
from mlc_course.unknown import apply_score, auroc, fpr_at_tpr

from deals import any_breeds, choices, drawings, scenes, three_breeds
from photos import CACHE
from run import insert

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent/'nbs/results'
COLOURS = {'scenes, any labels': '#0077BB', 'pets, any breeds': '#EE7733'}
# what the package chooses from, by rehearsal
CHOICE = {'joint_energy': 'balanced energy', 'knn': '10 neighbours',
    'joint_energy+knn': 'balanced energy + 10 neighbours'}
# each is also added to the balanced energy
SUMS = '10 neighbours', "5 of a label's own", 'density of 20', 'Mahalanobis++'


def store(name, df): df.to_csv(RESULTS/f'unknown_{name}.csv', index=False, float_format='%.4f')


def short(x): return f'{x:.3f}'.lstrip('0') if x<.9995 else '1.00'


# --- methods

def known_of(d):
    "What a model knows that trains on this deal"
    feats,targets = d.feats[d.train], d.targets[d.train]
    head = fit_head(nn.Linear(feats.shape[1], targets.shape[1]), feats, targets)
    return Known(feats, targets, head.weight.detach(), head.bias.detach())


def all_scores(d, known):
    "From each method to its scores of known test pictures, and of each group"
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
    rehearsal = rehearse(known.feats, known.targets)
    chosen = best_rule(rehearsal, {}, torch.ones(len(known.feats), dtype=bool))
    return res | {'chosen by rehearsal': res[CHOICE[chosen]]}


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
    for d in chain(drawings(cache), three_breeds(cache), scenes(cache), choices(cache)):
        rows += measured(d)
        print(d.name, len(d.train), 'to train on', flush=True)
    by = pd.DataFrame(rows).groupby(['data','group','method'], sort=False)
    res = by.mean().assign(deals=by.size())
    for o in 'auroc','fpr95': res[f'{o}_spread'] = by[o].std()
    sizes = dict.fromkeys(('n_known','n_unknown'), int)
    res = res.round(dict(n_known=0, n_unknown=0)).astype(sizes).reset_index()
    store('methods', res)
    return methods_text(res)


def methods_text(df):
    "Markdown: AUROC / FPR95 of each method, and how far each column can be trusted"
    cells = df[['data','group']].drop_duplicates().itertuples(index=False)
    columns = {f'{o.data}: {o.group}': df[(df.data==o.data) & (df.group==o.group)] for o in cells}
    lines = ['| AUROC / FPR95 | '+' | '.join(columns)+' |', '|---'*(len(columns)+1)+'|']
    def line(head, fn): lines.append(f'| {head} | {" | ".join(map(fn, columns.values()))} |')
    def of(o, name):
        r = o[o.method==name].iloc[0]
        pairs = ((short(r[k]), short(best)) for k,best in (('auroc',o.auroc.max()), ('fpr95',o.fpr95.min())))
        return ' / '.join(f'**{mine}**' if mine==best else mine for mine,best in pairs)
    for name in df.method.unique(): line(name, partial(of, name=name))
    def middle(o, what): return ' / '.join(short(o[f'{k}_{what}'].median()) for k in ('auroc','fpr95'))
    line('*sampling error of one deal*', partial(middle, what='error'))
    line('*spread of the deals*', partial(middle, what='spread'))
    line('*test pictures, known and not*', lambda o: f'{o.n_known.iloc[0]:,}, {o.n_unknown.iloc[0]:,}')
    return '\n'.join(lines)


# --- the whole decision

def decided(d, keep):
    "A decision as `mlc_train` makes it where all validate by turns; its rehearsal; a function that scores"
    x,y = d.feats[d.train], d.targets[d.train]
    stays = y.any(0)
    y = y[:,stays]
    vocab = [o for o,s in zip(d.vocab, stays) if s]
    folds = torch.tensor(seeded_folds([sorted(d.labels[i] & set(vocab)) for i in d.train], 0, 5))
    rehearsal = rehearse(x, y)
    logits,parts = cross_fit(x, y, folds)
    name = best_rule(rehearsal, parts, y.bool().any(1))
    decision = Decision.fit(vocab, keep, logits, parts, y, name, label_shares(y))
    head = fit_head(nn.Linear(x.shape[1], len(vocab)), x, y).requires_grad_(False)
    return decision, rehearsal, lambda feats: decision.score(head(feats), feats, x)


def mean_and_error(shares):
    "Of labels' shares, and one standard error of the mean"
    return np.mean(shares), np.std(shares, ddof=1)/len(shares)**.5


def told_and_found(d, keeps=(.9,.95,.99)):
    "Silence on labels left out in rehearsal beside that on labels never seen, each label counting once"
    decision,rehearsal,score = decided(d, .95)
    group, = d.unknown.values()
    scores,labels = score(d.feats[group]), [d.labels[i] for i in group]
    known,rule = score(d.feats[d.test]), decision.rule['name']
    for keep in keeps:
        thresh = decision.at(keep).thresh
        silent = (scores<thresh).numpy()
        found = [silent[has].mean() for o in sorted(set().union(*labels))
            if sum(has := np.array([o in l for l in labels]))>=5]
        row = dict(data=d.name, keep=keep, labels=len(d.vocab), n_train=len(d.train), rule=rule)
        row['told'],row['told_error'] = mean_and_error(rehearsal.silent(rule, keep))
        row['found'],row['found_error'] = mean_and_error(found)
        yield dict(row, answered=(known>=thresh).float().mean().item())


def draw_told(df, keep=.95):
    import matplotlib
    matplotlib.use('Agg')
    import matplotlib.pyplot as plt
    fig,ax = plt.subplots(figsize=(4.6, 4.4), layout='constrained')
    ax.plot([0,1], [0,1], color='gray', lw=1, ls=':')
    for (name,o),mark in zip(df[df.keep==keep].groupby('data', sort=False), 'os'):
        style = dict(fmt=mark, color=COLOURS[name], ms=5, lw=1, label=name)
        ax.errorbar(o.told, o.found, o.found_error, o.told_error, **style)
    off = (df.told-df.found)[df.keep==keep].abs().mean()
    ax.set(xlim=(0,1), ylim=(0,1), aspect='equal',
        xlabel='told: share silent of labels left out in rehearsal',
        ylabel='found: share silent of labels never seen')
    ax.set_title(f'Told is off by {off:.2f} on average (keep {keep})', fontsize=10.5)
    ax.legend(frameon=False, fontsize=9, loc='lower right')
    ax.spines[['top','right']].set_visible(False)
    fig.savefig(HERE/'told.png', dpi=110)


def told(cache):
    rows = []
    for d in chain(choices(cache), any_breeds(cache)):
        rows += told_and_found(d)
        print(d.name, len(rows), 'figures', flush=True)
    df = pd.DataFrame(rows)
    store('told', df)
    draw_told(df)
    head = 'known labels from','keep','told','found','mean absolute error','that of their mean','correlation'
    lines = [f'| {" | ".join(head)} |', '|---'*7+'|']
    for (data,keep),o in df.groupby(['data','keep'], sort=False):
        off,around = (o.told-o.found).abs(), (o.found-o.found.mean()).abs()
        figures = (x.mean() for x in (o.told, o.found, off, around))
        together = o.told.corr(o.found)
        lines.append(f'| {data} | {keep} | {" | ".join(map(short, figures))} | {together:+.2f} |')
    return '\n'.join(lines)


def one_resplit(seen, vocab, rehearsal, prior, keeps, job):
    "Share of other known pictures answered, if `n` of them choose rule, spreads, thresholds and cut"
    n,seed = job
    torch.set_num_threads(1)
    logits,parts,targets = seen
    order = torch.randperm(len(logits), generator=torch.Generator().manual_seed(seed))
    ours,rest = order[:n],order[n:]
    mine = {o: x[ours] for o,x in parts.items()}
    name = best_rule(rehearsal, mine, torch.ones(n, dtype=bool))
    decision = Decision.fit(vocab, .95, logits[ours], mine, targets[ours], name, prior)
    scores = apply_score({o: x[rest] for o,x in parts.items()}, decision.rule)
    answered = {keep: (scores>=decision.at(keep).thresh).float().mean().item() for keep in keeps}
    return [dict(n=n, seed=seed, keep=keep, answered=o) for keep,o in answered.items()]


def resplits(cache, n_deals=300, sizes=(60,100,200,500,1000), keeps=(.9,.95,.99)):
    d = next(scenes(cache, 1))
    all_known = torch.cat([d.train, d.test])
    x,y = d.feats[all_known],d.targets[all_known]
    folds = torch.tensor(seeded_folds([sorted(d.labels[i] & set(d.vocab)) for i in all_known], 0, 5))
    seen = *cross_fit(x, y, folds),y
    one = partial(one_resplit, seen, d.vocab, rehearse(x, y), label_shares(y), keeps)
    rows = [row for n in sizes for seed in range(n_deals) for row in one((n,seed))]
    df = pd.DataFrame(rows)
    store('resplits', df)
    by = df.groupby(['n','keep']).answered
    lines = [f'{n_deals} deals of each size.\n']
    head = 'pictures that decide', *(f'keep {o}' for o in keeps)
    lines += [f'| {" | ".join(head)} |', '|---'*len(head)+'|']
    def cell(o): return f'{short(o.mean())} ({short(o.quantile(.05))} to {short(o.quantile(.95))})'
    for n in sizes: lines.append(f'| {n} | {" | ".join(cell(by.get_group((n,k))) for k in keeps)} |')
    return '\n'.join(lines)


def main(parts=(), cache=CACHE/'features', n_deals=300):
    made = dict(methods=methods, told=told, resplits=partial(resplits, n_deals=n_deals))
    for part in parts or made: insert(f'unknown {part}', made[part](cache))


if __name__=='__main__':
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('parts', nargs='*', help='methods, told, resplits; all of them if none is named')
    parser.add_argument('--cache', type=Path, default=CACHE/'features', help='folder that keeps features')
    parser.add_argument('--deals', type=int, default=300, help='for resplits, of each size')
    options = parser.parse_args()
    main(options.parts, options.cache, options.deals)
