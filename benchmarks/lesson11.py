"""The stored tables of chapter 11: other drawings, other trainings, nothing chosen on test pictures.

`python benchmarks/lesson11.py` draws the chapter's folders anew for each seed, trains with and without
`things`, and writes nbs/results/11_prices.csv, 11_figures.csv and 11_worlds.csv (3 minutes of one core)."""
import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import torch
from fastcore.basics import noop
from PIL import Image, ImageEnhance, ImageFilter

from mlc_course import Classifier
from mlc_course.data import encode_labels
from mlc_course.engine.labelling import answer_labelled
from mlc_course.engine.toys import photo_folders

RESULTS = Path(__file__).resolve().parent.parent/'nbs/results'
KEEPS = [i/100 for i in range(50, 101)]


def swapped(im): return Image.merge('RGB', im.split()[::-1])

WORLDS = {
    'as it was': noop,
    'blurred': lambda im: im.filter(ImageFilter.GaussianBlur(1)),
    'darker': lambda im: ImageEnhance.Brightness(im).enhance(.4),
    'red and blue swapped': swapped,
    'upside down': lambda im: im.transpose(Image.FLIP_TOP_BOTTOM)}


def mistakes(seen, given, of_unknown):
    "Names that are missed, and names that are wrong"
    true = seen.targets.bool()
    return (true & ~given).sum().item(), ((given & ~true).sum()+of_unknown.sum()).item()


def at(decision, seen):
    given = decision.given(seen.logits, seen.score)
    return mistakes(seen, given, decision.given(seen.unknown_logits, seen.unknown_score))


def prices(clf, check, test):
    "What is paid on test pictures, by rules that were chosen on others; never answering pays 1"
    def of(pair, price, seen): return (pair[0]+price*pair[1])/seen.targets.sum().item()
    def cheapest(decision, price):
        def on_check(keep): return of(at(decision.at(keep), check), price, check)
        return min(KEEPS, key=on_check)
    for price in (1,5,20):
        def paid(decision): return of(at(decision, test), price, test)
        plain = clf.decision
        asked = plain.with_threshs(dict.fromkeys(clf.vocab, price/(1+price)))
        by_keep,by_both = cheapest(plain, price),cheapest(asked, price)
        row = {'price': price, 'as trained': paid(plain), 'keep': paid(plain.at(by_keep))}
        row |= {'thresholds': paid(asked), 'both': paid(asked.at(by_both))}
        for name,thresh in (('sigmoids above 0.5', .5), ('sigmoids above the same', price/(1+price))):
            given,unknown = [o.sigmoid()>thresh for o in (test.logits, test.unknown_logits)]
            row[name] = of(mistakes(test, given, unknown), price, test)
        yield row


def worlds(clf):
    "The test pictures, changed: how many get no answer, and how many answers are right"
    table = pd.read_csv('test/labels.csv', keep_default_na=False)
    truth = encode_labels(table.labels.str.split(), clf.vocab).bool()
    ims = [Image.open(f'test/{o}').convert('RGB') for o in table.fname]
    for name,change in WORLDS.items():
        labels = [o['labels'] for o in clf.predict([change(im) for im in ims])]
        given = encode_labels(labels, clf.vocab).bool()
        silent = ~given.any(1)
        yield dict(world=name, silent=silent.float().mean().item(),
            exact=(given==truth).all(1).float().mean().item(),
            missed=((truth & ~given).sum()/truth.sum()).item(),
            wrong=((given & ~truth).sum()/len(given)).item())


def runs(seed):
    for taught in (True,False):
        unknown = 'things' if taught else None
        clf = Classifier.train('photos/labels.csv', unknown=unknown, size=128, seed=seed, keep=.95, say=noop)
        check = answer_labelled(clf, 'check/labels.csv', 'rabbits')
        test = answer_labelled(clf, 'test/labels.csv', 'donkeys')
        facts = dict(seed=seed, taught=taught)
        for row in prices(clf, check, test): yield 'prices',facts|row
        known = test.figures()
        yield 'figures',facts|{k: known[k] for k in ('exact_match','macro_f1','answered','silent','auroc')}
        if taught:
            sure = clf.with_threshs(dict.fromkeys(clf.vocab, 5/6))
            for row in worlds(sure): yield 'worlds',facts|row


if __name__=='__main__':
    import os
    parser = argparse.ArgumentParser()
    parser.add_argument('--seeds', type=int, default=5)
    tables = dict(prices=[], figures=[], worlds=[])
    for seed in range(parser.parse_args().seeds):
        with TemporaryDirectory() as folder:
            os.chdir(photo_folders(folder, seed))
            for name,row in runs(seed): tables[name].append(row)
            os.chdir('/')
        for name,rows in tables.items():
            pd.DataFrame(rows).to_csv(RESULTS/f'11_{name}.csv', index=False, float_format='%.4f')
        print(seed, flush=True)
