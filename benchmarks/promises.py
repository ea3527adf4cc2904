"""What the whole decision of the package keeps of its two promises, over many deals of scenes: 95 in 100
known pictures answered, and at most one label in ten missed. And how much each bound on missed labels gives
away, beside those of MAPIE (of the extra `dev`).

`python benchmarks/promises.py` writes nbs/results/08_promises.csv and 08_bounds.csv, a row for each deal;
chapter 08 and deeper/bounds show them. Features are kept in build/bench"""
import argparse
import warnings
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import torch

from mlc_course.engine import decision
from mlc_course.engine.decision import Decision
from mlc_course.engine.folds import seeded_folds
from mlc_course.engine.promise import left_for_threshs, rcps_thresh
from mlc_course.engine.rehearsal import best_rule, rehearse
from mlc_course.engine.training import cross_fit, label_shares
from mlc_course.trust import crc_thresh, missed_rate
from mlc_course.unknown import apply_score

from deals import scenes
from photos import CACHE
from unknown import RESULTS

GRID = np.arange(0, 1, .01) # of thresholds
# name of the promise, what is asked of `Decision.fit`
PROMISES = {'unanswered': (.05, dict(keep=.95)), 'missed labels': (.1, dict(keep=None, max_missed=.1))}


def everybody(known):
    "All pictures have a say in the rule, and all known ones set the cut"
    return torch.ones_like(known),known


def left_for_all(max_missed, keep, n_known, n_silent=None):
    "As `left_for_threshs`, where all known pictures set the cut and not half of them"
    return left_for_threshs(max_missed, keep, 2*n_known, n_silent)


# one half chooses and the other sets, or all do both: what takes the place of functions of the package
WAYS = {'halves': {},
    'all': dict(choose_and_set=everybody, left_for_threshs=left_for_all)}


def broken(fit, promise, logits, parts, targets):
    "Share of these pictures unanswered, or mean share of their labels missed"
    score = apply_score(parts, fit.rule)
    if promise=='unanswered': return (score<fit.thresh).float().mean().item()
    given = fit.given(logits, score).float()
    return missed_rate(given, targets, .5).mean().item()


def rule_of(feats, targets, parts):
    "The rule that these pictures choose by rehearsing among themselves"
    return best_rule(rehearse(feats, targets), parts, targets.bool().any(1))


def one_deal(seen, vocab, feats, n, seed):
    """A row for each promise and each way, `n` pictures deciding, all others judging. All is dealt anew but
    the heads, which never saw the picture that they judge: rule, spread of the scores, thresholds"""
    logits,parts,targets = seen
    order = torch.randperm(len(logits), generator=torch.Generator().manual_seed(seed))
    def rows(who): return logits[who], {o: x[who] for o,x in parts.items()}, targets[who]
    ours,others = rows(order[:n]),rows(order[n:])
    who_chooses = {'halves': decision.choose_and_set(ours[2].bool().any(1))[0],
        'all': torch.ones(n, dtype=bool)}
    prior = label_shares(ours[2])
    for way,instead in WAYS.items():
        chooses = who_chooses[way]
        chosen = order[:n][chooses]
        name = rule_of(feats[chosen], targets[chosen], {o: x[chooses] for o,x in ours[1].items()})
        for promise,(bound,wish) in PROMISES.items():
            wish = dict(keep=None, max_missed=None) | wish
            with patch.multiple(decision, **instead) if instead else nullcontext():
                fit = Decision.fit(vocab, wish['keep'], *ours, name, prior, wish['max_missed'])
            yield dict(promise=promise, bound=bound, way=way, pictures=n, seed=seed, rule=name,
                measured=broken(fit, promise, *others))


def mapie_thresh(probs, targets, **kwargs):
    "MAPIE's threshold for a recall of 0.9; NaN if it finds none"
    from mapie.risk_control import MultiLabelClassificationController
    fit = MultiLabelClassificationController(lambda x: x, risk='recall', target_level=.9,
        predict_params=GRID, **kwargs)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        fit.calibrate(probs.numpy(), targets.numpy().astype(int))
    return fit.best_predict_param.item()


def on_grid(thresh):
    "The next lower threshold that MAPIE might try"
    return GRID[GRID<=thresh].max().item()


def bounds(seen, n_deals, n=500):
    "A row for each way to a threshold that misses at most 0.1, and each deal"
    probs,targets = seen[0].sigmoid().double(),seen[2]
    finders = {'on average, ours': lambda *o: crc_thresh(*o, .1, GRID),
        'on average, MAPIE': lambda *o: mapie_thresh(*o, method='crc'),
        'Bentkus, ours': lambda *o: on_grid(rcps_thresh(*o, .1, .05))}
    for bound in 'hoeffding','bernstein','wsr':
        wish = dict(method='rcps', rcps_bound=bound, confidence_level=.95)
        finders[f'{bound.upper() if bound=="wsr" else bound.title()}, MAPIE'] = partial(mapie_thresh, **wish)
    for seed in range(n_deals):
        order = torch.randperm(len(probs), generator=torch.Generator().manual_seed(seed))
        cal,test = order[:n],order[n:]
        for name,find in finders.items():
            thresh = find(probs[cal], targets[cal])
            wrong = (probs[test]>thresh) & (targets[test]==0)
            yield dict(bound=name, seed=seed, threshold=thresh,
                missed=missed_rate(probs[test], targets[test], thresh).mean().item(),
                wrong=wrong.sum(1).double().mean().item())


def promises(d, seen, x, n_deals, sizes=(60,100,200,500)):
    "Rows of `one_deal`, for each number of pictures that decide"
    one = partial(one_deal, seen, d.vocab, x)
    return [row for n in sizes for seed in range(n_deals) for row in one(n, seed)]


def stored(name, rows):
    df = pd.DataFrame(rows)
    df.to_csv(RESULTS/f'08_{name}.csv', index=False, float_format='%.4f')
    return df


def main(parts=(), cache=CACHE/'features', n_deals=100):
    torch.set_num_threads(1)
    d = next(scenes(cache, 1))
    known = torch.cat([d.train, d.test])
    x,y = d.feats[known],d.targets[known]
    folds = torch.tensor(seeded_folds([sorted(d.labels[i] & set(d.vocab)) for i in known], 0, 5))
    seen = *cross_fit(x, y, folds),y
    print(len(known), 'known scenes')
    if not parts or 'promises' in parts:
        df = stored('promises', promises(d, seen, x, n_deals))
        print(df.groupby(['promise','way','pictures']).measured.agg(['mean','std']).round(4))
    if not parts or 'bounds' in parts:
        df = stored('bounds', bounds(seen, n_deals))
        print(df.groupby('bound', sort=False)[['threshold','missed','wrong']].mean().round(4))


if __name__=='__main__':
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('parts', nargs='*', help='promises, bounds; both if none is named')
    parser.add_argument('--cache', type=Path, default=CACHE/'features', help='folder that keeps features')
    parser.add_argument('--deals', type=int, default=100, help='of each size')
    options = parser.parse_args()
    main(options.parts, options.cache, options.deals)
