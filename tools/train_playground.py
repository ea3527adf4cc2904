"Train the playground's networks with three seeds: the page gets those of the first, the figures are of all"
import random, tempfile
from pathlib import Path

import numpy as np, pandas as pd, torch
from PIL import Image
from safetensors.torch import save
from torch import nn, tensor
from torch.nn import functional as F

from mlc_course.classifier import fitted_classifier
from mlc_course.data import encode_labels, pets, scene_table
from mlc_course.engine.files import whole_file
from mlc_course.engine.labelling import raw_outputs
from mlc_course.engine.networks import ARCHS, RootPool, build_model
from mlc_course.engine.pictures import for_batches, normalise
from mlc_course.engine.training import Fitted, Parts, set_seed, train_scratch
from mlc_course.ui.playground import filter_steps, groups, load_page, page_vocab
from mlc_course.ui.playground import share_right, top_share, twin_given
from mlc_course.unknown import keep_thresh

NBS = Path(__file__).resolve().parents[1]/'nbs'
SEEDS = 0,1,2
TEACH = 'bird','Persian','samoyed' # no label, to learn silence from
STRANGERS = dict(donkey='near', rabbit='near', car='far', ball='far')


def page_pictures(seed=0):
    "Drawn pictures: `file`, `labels` (a list), `part` (train, valid; test: portraits; scenes, near, far)"
    rows = [*portraits(seed), *scenes()]
    table = pd.DataFrame(rows, columns=['file','labels','part'])
    def named(names): return [o for o in page_vocab if o in names]
    return table.assign(labels=table.labels.map(named))


def portraits(seed):
    "File, names and part of each portrait; a fifth of each group for each part but the training"
    drawn = pets('drawn')
    files = [*drawn.files, *sorted(drawn.unknown)]
    shuffled = random.Random(seed).sample(files, len(files))
    by_kind = [(file, file.stem.rsplit('_', 1)[0]) for file in shuffled]
    for kinds,parts in (page_vocab,('test','valid')),(TEACH,('valid',)):
        group = [o for o in by_kind if o[1] in kinds]
        for i,(file,kind) in enumerate(group):
            fifth = i//(len(group)//5)
            yield file,[kind],parts[fifth] if fifth<len(parts) else 'train'
    for file,kind in by_kind:
        if kind in STRANGERS: yield file,[],STRANGERS[kind]


def scenes():
    "File, names and part of each scene"
    s = scene_table('drawn')
    for row in s.df.itertuples():
        yield s.pictures/row.fname,row.labels.split(),'valid' if row.is_valid else 'train'
    for row in s.test.itertuples(): yield s.path/'test'/row.fname,row.labels.split(),'scenes'


def page_tests(table, folder):
    "Test pictures of `table` (240 scenes), and noise, drawn into `folder`; `part` is one of `groups`"
    noise = [Path(folder)/f'noise_{i}.png' for i in range(100)]
    for i,file in enumerate(noise):
        dots = np.random.default_rng(i).integers(0, 256, (96,96,3), dtype=np.uint8)
        Image.fromarray(dots).save(file)
    table = table.replace({'part': {'test': 'known'}})
    parts = [table[table.part==o].head(240) for o in groups[:4]]
    of_noise = pd.DataFrame(dict(file=noise, labels=[[]]*100, part='noise'))
    return pd.concat([*parts, of_noise], ignore_index=True)


def round_filters(model):
    "`model`; each filter of a convolution becomes whole numbers, -127 to 127, times a step of its own"
    for m in model.modules():
        if not isinstance(m, nn.Conv2d): continue
        weight = m.weight.detach() # shares its memory
        step = filter_steps(weight)
        weight.copy_((weight/step).round()*step)
    return model


def look(model, files):
    "What `model` makes of pictures: logits `(n_items, n_classes)`, features `(n_items, n_feat)`"
    body,head = model
    logits = torch.zeros(len(files), len(page_vocab))
    feats = torch.zeros(len(files), head[-1].in_features)
    def see(ix, xb):
        maps = body(normalise(xb))
        logits[ix] = head(maps)
        feats[ix] = RootPool()(maps)
    errors = for_batches(see, files, 96, 'looking')
    for error in errors.values(): raise error
    return logits,feats


def figures(clf, twin, table):
    "What both networks say of test pictures, as tensors to store"
    with tempfile.TemporaryDirectory() as tmp:
        tests = page_tests(table, tmp)
        files = tests.file.tolist()
        logits,score,_ = raw_outputs(clf, files)
        of_twin,_ = look(twin, files)
    targets = encode_labels(tests.labels, page_vocab)
    group = tensor(list(map(groups.index, tests.part)))
    return dict(logits=logits, score=score, twin=of_twin, targets=targets, group=group)


def train_page_model(dest, epochs=16, seed=0, say=print):
    "Train both networks, round them, choose thresholds, look at the test pictures once, save into `dest`"
    dest,table = Path(dest),page_pictures(seed)
    files,targets = parts_of(table)
    model = trained(files, targets, epochs, seed, say)
    before,_ = look(model, files.valid)
    clf = judged(round_filters(model), files, targets, epochs, seed, say)
    after,_ = look(clf.model, files.valid)
    moved = (after.sigmoid()-before.sigmoid()).abs().amax(1)
    with_one = table[table.labels.map(len)==1] # others have no target for a softmax
    files,targets = parts_of(with_one)
    twin = round_filters(trained(files, targets, epochs, seed, say, F.cross_entropy))
    known = top_share(look(twin, files.valid)[0])
    kept = [keep_thresh(known, i/100) for i in range(1, 101)]
    tensors = dict(kept=tensor(np.minimum.accumulate(kept)).float(), moved=moved)
    parts = dict(twin=twin.state_dict(), test=figures(clf, twin, table))
    for part,of_part in parts.items():
        for name,value in of_part.items(): tensors[f'{part}.{name}'] = value.contiguous()
    clf.save(dest/'model')
    whole_file(dest/'page.safetensors', save(tensors))


def parts_of(table):
    "Files and targets to train and to validate"
    train,valid = table[table.part=='train'],table[table.part=='valid']
    files = Parts(train.file.tolist(), valid.file.tolist())
    return files,Parts(encode_labels(train.labels, page_vocab), encode_labels(valid.labels, page_vocab))


def trained(files, targets, epochs, seed, say, loss_func=None):
    set_seed(seed)
    model = build_model('page_cnn', len(page_vocab))
    train_scratch(model, files, targets, 96, epochs, say, loss_func)
    return model


def judged(model, files, targets, epochs, seed, say):
    "A `Classifier` with 1000 references and thresholds chosen on validation pictures"
    known = targets.train.bool().any(1).nonzero()[:,0].tolist()
    refs = random.Random(seed).sample(known, 1000)
    _,feats = look(model, [files.train[i] for i in refs])
    logits,valid_feats = look(model, files.valid)
    n_unlabelled = (~torch.cat(targets).bool().any(1)).sum().item()
    training = dict(epochs=epochs, seed=seed, pretrained=False, by_turns=False,
        n_train=len(files.train), n_valid=len(files.valid), n_unlabelled=n_unlabelled, n_left_out=0)
    config = dict(arch='page_cnn', size=96, **ARCHS['page_cnn'].facts(False), rare=[], training=training)
    fitted = Fitted(feats, valid_feats, logits)
    with_refs = Parts(targets.train[refs], targets.valid)
    return fitted_classifier(model, fitted, with_refs, page_vocab, .95, config, say=say)


def keep_curve(clf, stored):
    "Shares of right answers of both networks, as from `load_page`, at all keep rates from 0.5 to 1"
    ours,twins = [],[]
    for keep in np.arange(50, 101)/100:
        given = clf.decision.at(keep).given(stored.logits, stored.score)
        ours.append(dict(network='sigmoids', keep=keep, **share_right(stored, given)))
        given = twin_given(stored, keep)
        twins.append(dict(network='softmax twin', keep=keep, **share_right(stored, given)))
    return pd.DataFrame(ours+twins)


def main():
    curves = []
    for seed in SEEDS:
        with tempfile.TemporaryDirectory() as tmp:
            dest = tmp if curves else NBS/'playground'
            train_page_model(dest, seed=seed)
            clf,_,stored = load_page(dest)
        curves.append(keep_curve(clf, stored).assign(seed=seed))
    text = pd.concat(curves).round(4).to_csv(index=False)
    whole_file(NBS/'results'/'web_seeds.csv', text.encode())


if __name__ == '__main__': main()
