"""The loop on real scenes: animals are taken out of the vocab, discovered, named, and added.

`python benchmarks/loop.py` writes nbs/results/loop_groups.csv (how pure the groups are, beside chance and
k-means) and loop_add.csv (figures before, after, and of training anew): a few minutes with the features of
benchmarks/unknown.py, which are kept in build/bench. `python benchmarks/loop.py old` writes loop_old.csv:
what to make of old photos that may show a new label, and prints what a byte a feature costs. `rows` times
`add` for benchmarks/run.py"""
import argparse, csv, time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from fastcore.basics import noop
from sklearn.cluster import KMeans
from torch import nn

from mlc_course.classifier import Classifier, fitted_classifier
from mlc_course.data import encode_labels
from mlc_course.engine.adding import joined, may_show
from mlc_course.engine.folds import seeded_folds
from mlc_course.engine.groups import grouped
from mlc_course.engine.memory import packed
from mlc_course.engine.model_file import file_keys
from mlc_course.engine.networks import RootHead
from mlc_course.engine.photo_set import PhotoSet
from mlc_course.engine.training import Fitted, Parts, fit_head
from mlc_course.metrics import average_precision
from mlc_course.unknown import directions

from deals import ANIMALS, BODY, features, scene_files, scene_labels, scenes
from photos import CACHE, SHARED
from versus import row, summary

RESULTS = Path(__file__).resolve().parent.parent/'nbs/results'


# --- models on stored features

def model_of(feats, labels, vocab, keys, seed=0):
    "As `Classifier.train` makes it of these pictures, without a body"
    targets = encode_labels([sorted(o & set(vocab)) for o in labels], vocab)
    model = nn.Sequential(nn.Identity(), RootHead(feats.shape[1], len(vocab)))
    fit_head(model[1][-1], feats, targets)
    none = torch.zeros(0, feats.shape[1]), torch.zeros(0, len(vocab))
    folds = torch.tensor(seeded_folds([sorted(o & set(vocab)) for o in labels], seed, 5))
    config = dict(arch=BODY, rare=[], training=dict(seed=seed, epochs=0, pretrained=True))
    return fitted_classifier(model, Fitted(feats, *none), Parts(targets, none[1]), vocab, .95, config, folds,
        frozen=True, say=noop, keys=keys)


def answers(clf, feats):
    "Logits, and labels given"
    with torch.no_grad(): logits = clf.model[1][-1](feats)
    return logits, clf.decision.given(logits, clf.decision.score(logits, feats, clf.refs.float()))


def added_to(clf, files, labels, feats):
    photos = PhotoSet(files, labels, [False]*len(files), folds=seeded_folds(labels, 0, 5))
    a = joined(clf, photos, feats)
    return fitted_classifier(a.model, a.fitted, a.targets, a.vocab, .95, a.config, a.folds, frozen=True,
        say=noop, keys=a.keys, near=True)


# --- groups

def pixels(files):
    "16 x 16 of each picture"
    small = [np.asarray(Image.open(o).convert('RGB').resize((16,16))) for o in files]
    return torch.from_numpy(np.stack(small)).flatten(1).float()


def main_kinds(groups, kinds):
    "What most pictures of each group show, and which share of them"
    res = {}
    for g in range(int(groups.max())+1):
        counts = pd.Series(kinds[(groups==g).numpy()]).value_counts()
        res[g] = counts.index[0], counts.iloc[0]/counts.sum()
    return res


def purity(groups, kinds):
    "Share of the grouped pictures that show what most of their group do"
    sizes = groups[groups>=0].bincount()
    return sum(share*int(sizes[g]) for g,(_,share) in main_kinds(groups, kinds).items())/int(sizes.sum())


def kmeans(x, n): return torch.from_numpy(KMeans(n, n_init=4, random_state=0).fit_predict(x.numpy())).long()


def group_rows(feats, files, kinds, **facts):
    "Ours, k-means with as many groups on the same pictures, and chance: the mean of 20 shuffles"
    groups = grouped(feats)
    n, inside = int(groups.max())+1, groups>=0
    gen = torch.Generator().manual_seed(0)
    mixed = [purity(groups[torch.randperm(len(groups), generator=gen)], kinds) for _ in range(20)]
    found = {'ours': purity(groups, kinds), 'chance': np.mean(mixed)}
    for name,x in ('k-means on features', directions(feats)), ('k-means on raw pixels', pixels(files)):
        found[name] = purity(kmeans(x[inside], n), kinds[inside.numpy()])
    res = [dict(facts, method=o, purity=p, n=len(kinds), groups=n, grouped=inside.float().mean().item())
        for o,p in found.items()]
    return groups, res


# --- the loop

def figures(clf, d, parts):
    "mAP of old and new labels on test pictures of both kinds; answers of known and silence of unknown ones"
    vocab = clf.vocab
    truth = encode_labels([sorted(o & set(vocab)) for o in d.labels], vocab)
    both = torch.cat([parts['known'], parts['animals']])
    ap = dict(zip(vocab, average_precision(answers(clf, d.feats[both])[0], truth[both]).tolist()))
    def mean(names): return float(np.mean([ap[o] for o in names])) if names else None
    given = answers(clf, d.feats[parts['known']])[1]
    right = (given==truth[parts['known']].bool()).all(1)
    def silent(g): return (~answers(clf, d.feats[parts[g]])[1].any(1)).float().mean().item()
    return dict(map_old=mean(d.vocab), map_new=mean([o for o in vocab if o not in d.vocab]),
        answered=given.any(1).float().mean().item(), right=right.float().mean().item(),
        silent_animals=silent('animals'), silent_vehicles=silent('vehicles'))


def whole_loop(d, seed, files, keys):
    "Before, after, anew with the same names, anew with all that is true"
    def labels(ix): return [d.labels[i] for i in ix.tolist()]
    order = torch.randperm(len(d.unknown['animals']), generator=torch.Generator().manual_seed(seed))
    animals = d.unknown['animals'][order]
    met,held = animals[:len(animals)*2//3], animals[len(animals)*2//3:]
    parts = dict(known=d.test, animals=held, vehicles=d.unknown['vehicles'])
    before = model_of(d.feats[d.train], labels(d.train), d.vocab, keys[d.train])
    # what a user throws at it: unknown animals and vehicles, and known pictures
    asked = torch.cat([met, d.unknown['vehicles'], d.test])
    silent = asked[~answers(before, d.feats[asked])[1].any(1)]
    unknown = [o-set(d.vocab) for o in labels(silent)]
    kinds = np.array(['+'.join(sorted(o)) or 'known' for o in unknown])
    groups,rows = group_rows(d.feats[silent], [files[i] for i in silent.tolist()], kinds, deal=seed)
    # a user names the groups that show mostly one animal, with all pictures in them
    name_of = {g: o for g,(o,share) in main_kinds(groups, kinds).items() if share>.5 and o in ANIMALS}
    named = [i for i,g in enumerate(groups.tolist()) if g in name_of]
    names = [[name_of[int(groups[i])]] for i in named]
    its = silent[named]
    t0 = time.perf_counter()
    after = added_to(before, [files[i] for i in its.tolist()], names, d.feats[its])
    secs = time.perf_counter()-t0
    vocab = after.vocab
    train = torch.cat([d.train, its])
    def anew(labels): return model_of(d.feats[train], labels, vocab, keys[train])
    same = anew([o & set(d.vocab) for o in labels(d.train)] + list(map(set, names)))
    whole = anew(labels(train))
    facts = dict(deal=seed, n_old=len(d.train), n_named=len(its), n_new=len(vocab)-len(d.vocab))
    models = {'before': before, 'after add': after, 'anew, same names': same, 'anew, whole truth': whole}
    # a test picture that was met is no test picture
    seen = set(its.tolist())
    parts = {g: torch.tensor([i for i in o.tolist() if i not in seen]) for g,o in parts.items()}
    return rows, [dict(facts, model=name, **figures(clf, d, parts)) for name,clf in models.items()] + [
        dict(facts, model='seconds of add, features apart', secs=secs)]


def main(cache):
    files = scene_files()
    keys = file_keys(files)
    tables = [],[]
    for seed,d in enumerate(scenes(cache)):
        for table,rows in zip(tables, whole_loop(d, seed, files, keys)): table += rows
        print('deal', seed, flush=True)
    for name,rows,by in zip(('groups','add'), tables, ('method','model')):
        df = pd.DataFrame(rows)
        df.to_csv(RESULTS/f'loop_{name}.csv', index=False, float_format='%.4f')
        print(df.groupby(by, sort=False).mean(numeric_only=True).drop(columns='deal').round(3).to_string())


# --- old photos that show a new label, and nobody has said so

def hidden(feats, truth, c, n_named, seed):
    "Average precision of one label, named in photos that show nothing else; of 3,712 scenes 1,012 test"
    gen = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(feats), generator=gen)
    train, test = order[:2700], order[2700:]
    others = truth[train].sum(1)-truth[train,c]>0
    old = train[others]
    new = train[~others & (truth[train,c]==1)][:n_named]
    if len(new)<10: return None
    x, shows = feats[torch.cat([old,new])], truth[torch.cat([old,new])][:,[c]]
    asked = torch.arange(len(x))>=len(old)
    no = shows*asked[:,None]
    may = may_show(x, no, asked, seed)
    ways = {'no': no, 'yes where like it': no+may, 'nothing where like it': no.masked_fill(may, torch.nan),
        'the truth': shows}
    res = dict(n_named=len(new), n_old=len(old), n_hidden=int(shows[~asked].sum()), n_like=int(may.sum()),
        n_like_shows=int(shows[may].sum()))
    for name,targets in ways.items():
        head = fit_head(nn.Linear(x.shape[1], 1), x, targets)
        with torch.no_grad(): res[name] = average_precision(head(feats[test]), truth[test][:,[c]]).item()
    return res


def a_byte(feats, truth):
    "What a byte a feature costs: mean average precision on 1,012 scenes of heads solved on 2,700"
    order = torch.randperm(len(feats), generator=torch.Generator().manual_seed(0))
    train, test = order[:2700], order[2700:]
    whole,scale = packed(feats[train])
    for name,x in {'32 bits': feats[train], '8 bits': whole*scale[:,None]}.items():
        head = fit_head(nn.Linear(x.shape[1], truth.shape[1]), x, truth[train])
        with torch.no_grad(): print(name, average_precision(head(feats[test]), truth[test]).mean().item())


def old_photos(cache):
    feats,labels = features('voc', cache)[1], scene_labels()
    vocab = sorted(set().union(*labels))
    truth = encode_labels([sorted(o) for o in labels], vocab)
    a_byte(feats, truth)
    rows = []
    for most in 20,60:
        for seed in range(2):
            for c,label in enumerate(vocab):
                found = hidden(feats, truth, c, most, seed)
                if found: rows.append(dict(most=most, seed=seed, label=label, **found))
    df = pd.DataFrame(rows)
    df.to_csv(RESULTS/'loop_old.csv', index=False, float_format='%.4f')
    print(df.groupby('most').mean(numeric_only=True).round(3).T.to_string())


# --- against the clock

def tables_of(n_train=2700, n_new=60, n_test=1000):
    "CSVs of scenes: all to train on, the old ones, those to be added (mostly animals), and test pictures"
    files,labels = scene_files(), scene_labels()
    animals = [i for i,o in enumerate(labels) if o and o<=ANIMALS]
    order = np.random.default_rng(0).permutation(len(files)).tolist()
    new = [i for i in order if i in set(animals)][:n_new]
    rest = [i for i in order if i not in set(new)]
    old = [i for i in rest if labels[i]-ANIMALS][:n_train-n_new]
    test = [i for i in rest if i not in set(old)][:n_test]
    folder = CACHE/'loop'
    folder.mkdir(parents=True, exist_ok=True)
    for part in 'train','test':
        if not (folder/part).exists(): (folder/part).symlink_to(files[0].parent.parent/part)
    def write(name, ix, drop=()):
        with open(folder/f'{name}.csv', 'w', newline='') as f:
            out = csv.writer(f)
            out.writerow(('fname','labels'))
            for i in ix:
                place = f'{files[i].parent.name}/{files[i].name}'
                out.writerow((place, ' '.join(sorted(labels[i]-set(drop)))))
        return folder/f'{name}.csv'
    # nobody was asked for animals in the old pictures, neither by training anew nor by adding
    both = write('both', [*old, *new])
    text = write('old', old, ANIMALS).read_text() + write('new', new).read_text().partition('\n')[2]
    both.write_text(text)
    return both, folder/'old.csv', folder/'new.csv', write('test', test)


def rows():
    if not (SHARED/'pascal_2007').is_dir():
        print(f'left out, no {SHARED.name}/pascal_2007: adding to a model')
        return []
    both,old,new,test = tables_of()
    start = CACHE/'loop_model'
    if not start.exists(): Classifier.train(old, BODY, say=noop).save(start)
    clf, times = Classifier.load(start), ([],[])
    for _ in range(2):
        t0 = time.perf_counter()
        after = clf.add(new, say=noop)
        times[0].append(time.perf_counter()-t0)
        t0 = time.perf_counter()
        anew = Classifier.train(both, BODY, say=noop)
        times[1].append(time.perf_counter()-t0)
    maps = [o.evaluate(test)['map'] for o in (after,anew)]
    assert maps[0]>maps[1]-.01, maps
    said = f'mAP on 1,000 other scenes {maps[0]:.4f} and {maps[1]:.4f}'
    note = 'theirs: training on all 2,700 anew, with the same labels'
    return [row('add 60 photos of new labels to 2,640 scenes', summary(*times), 20, said, note)]


if __name__=='__main__':
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('what', nargs='?', default='loop', choices=['loop','old','time'])
    parser.add_argument('--cache', type=Path, default=CACHE/'features', help='folder that keeps features')
    options = parser.parse_args()
    if options.what=='loop': main(options.cache)
    elif options.what=='old': old_photos(options.cache)
    else:
        for o in rows(): print(o)
