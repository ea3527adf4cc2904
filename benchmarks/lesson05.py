"""The stored tables of chapter 05 and of nbs/deeper/how_many.ipynb: each part trains, and writes one.

`FASTAI_HOME=../shared TORCH_HOME=../shared/weights python benchmarks/lesson05.py`, with the names of
parts for some of it, writes nbs/results/05_*.csv. `animals`, `seeds` and `colours` need drawings only,
the others photos. Nothing is chosen on test pictures."""
import random
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import torch
from fastai.vision.all import *

from mlc_course.data import encode_labels, keep_items, read_labels, scene_table
from mlc_course.draw.animals import breeds, species
from mlc_course.draw.scenes import draw_scene
from mlc_course.draw.sources import real_folder
from mlc_course.engine.networks import ARCHS, build_model
from mlc_course.engine.training import body_pass, fit_head
from mlc_course.metrics import accuracy_multi as accuracy_of_probs
from mlc_course.metrics import average_precision, best_threshs, exact_match, f1_by_thresh, macro_f1, mean_ap
from mlc_course.metrics import precision_recall_f1
from mlc_course.sigmoid import small_cnn

from parts import run_parts

RESULTS = Path(__file__).resolve().parent.parent/'nbs/results'
LITE = ARCHS['efficientnet_lite2']
SIZE = 224 # pixels: both uses of the pretrained body see the same ones


def store(name, df, digits=4): df.to_csv(RESULTS/f'05_{name}.csv', index=False, float_format=f'%.{digits}f')


def with_files(df, folder): return df.assign(file=[folder/name for name in df.fname])


def plain(x): return x.as_subclass(torch.Tensor)


def batches(df, vocab, item_tfms, seed=0, stats=imagenet_stats, bs=32, changes=None):
    "The lesson's `DataBlock`, each picture decoded once; and the loaders as they were, for other tables"
    set_seed(seed, reproducible=True)
    if changes is None: changes = [Flip()]
    block = DataBlock((ImageBlock,MultiCategoryBlock(vocab=vocab)), splitter=ColSplitter(),
        get_x=ColReader('file'), get_y=ColReader('labels', label_delim=' '),
        item_tfms=item_tfms, batch_tfms=[*changes, Normalize.from_stats(*stats)])
    dls = block.dataloaders(df, bs=bs, num_workers=0)
    return DataLoaders(*map(keep_items, dls)),dls


def small_learner(dls, vocab):
    model = small_cnn(len(vocab)).to(memory_format=torch.channels_last)
    return Learner(dls, model, loss_func=BCEWithLogitsLossFlat())


def fit(learn, n_epochs, lr):
    class NoValidate(Callback):
        "Nobody looks at it here"
        def before_validate(self): raise CancelValidException
    with learn.no_bar(), learn.no_logging(), learn.added_cbs(NoValidate()): learn.fit_one_cycle(n_epochs, lr)


def said(learn, dl):
    "Probabilities and targets"
    with learn.no_bar(): return [plain(o) for o in learn.get_preds(dl=dl)]


# --- photos of PASCAL VOC 2007

def photos():
    "Tables with the files of their photos, and the test labels that only difficult objects have"
    path = real_folder('PASCAL_2007')
    df = with_files(read_labels(path/'train.csv'), path/'train')
    test = with_files(read_labels(path/'test.csv'), path/'test')
    vocab = sorted(set(' '.join(df.labels).split()))
    boxes = pd.read_csv(path/'test_boxes.csv')
    all_difficult = boxes.groupby(['fname','label']).difficult.min()==1
    difficult = torch.zeros(len(test), len(vocab), dtype=bool)
    row = {name: i for i,name in enumerate(test.fname)}
    for fname,label in all_difficult[all_difficult].index: difficult[row[fname],vocab.index(label)] = True
    return SimpleNamespace(df=df, train=df[~df.is_valid], valid=df[df.is_valid], test=test, vocab=vocab,
        difficult=difficult)


def targets_of(data, part): return encode_labels(getattr(data, part).labels.str.split(), data.vocab)


def squeezed(data, size, seed, **kwargs):
    dls,whole = batches(data.df, data.vocab, Resize(size, method='squish'), seed, **kwargs)
    return dls,keep_items(whole.test_dl(data.test, with_labels=True))


def both(learn, dls, test_dl): return said(learn, dls.valid)[0], said(learn, test_dl)[0]


def from_scratch(data, seed):
    "The lesson's own network, with the lesson's lines"
    dls,test_dl = squeezed(data, 96, seed)
    learn = small_learner(dls, data.vocab)
    fit(learn, 20, 5e-3)
    return both(learn, dls, test_dl)


def fine_tuned(data, seed):
    "A pretrained body: `fine_tune` trains the new head for two epochs, then everything for two"
    dls,test_dl = squeezed(data, SIZE, seed, stats=LITE.stats, bs=16)
    model = build_model('efficientnet_lite2', len(data.vocab), weights='DEFAULT')
    def groups(model): return L(*model).map(params)
    learn = Learner(dls, model.to(memory_format=torch.channels_last),
        loss_func=BCEWithLogitsLossFlat(), splitter=groups)
    with learn.no_bar(): learn.fine_tune(2, 5e-3, freeze_epochs=2)
    return both(learn, dls, test_dl)


def head_only(data, seed):
    "The same body left as it is, and the one best head on top: no luck in it. Nothing is mirrored"
    model = build_model('efficientnet_lite2', len(data.vocab), weights='DEFAULT')
    def look(part):
        files = list(getattr(data, part).file)
        return body_pass(model[0], files, SIZE, f'{part} photos', store=False, stats=LITE.stats)[1][:,0]
    head = fit_head(model[1][-1], look('train'), targets_of(data, 'train'))
    with torch.no_grad(): return [head(look(part)).sigmoid() for part in ('valid','test')]


def error(fn, *tables, n=200):
    "Standard deviation of a figure over test sets resampled from this one, photo by photo"
    gen = torch.Generator().manual_seed(0)
    n_photos = len(tables[0])
    draws = [torch.randint(n_photos, (n_photos,), generator=gen) for _ in range(n)]
    return torch.stack([fn(*[o[draw] for o in tables]) for draw in draws]).std(0)


def clear_ap(probs, targets, difficult):
    "AP as the challenge counts it: a label that only difficult objects have is neither right nor wrong"
    columns = zip(probs.T, targets.T, difficult.T)
    return torch.stack([average_precision(p[~skip,None], t[~skip,None])[0] for p,t,skip in columns])


def measured(method, seed, data, valid_probs, probs):
    "A row for each label, and one for their mean"
    targets = targets_of(data, 'test')
    own = best_threshs(valid_probs, targets_of(data, 'valid'))
    by_label = pd.DataFrame(dict(label=data.vocab, yes=targets.sum(0).int(),
        ap=average_precision(probs, targets), ap_error=error(average_precision, probs, targets),
        clear_ap=clear_ap(probs, targets, data.difficult),
        f1=precision_recall_f1(probs, targets)[:,2].nan_to_num(),
        f1_own=precision_recall_f1(probs, targets, own)[:,2].nan_to_num()))
    mean = by_label.drop(columns='label').mean().to_dict()
    mean |= dict(label='mean', yes=int(targets.sum()), ap_error=error(mean_ap, probs, targets).item())
    valid_ap = mean_ap(valid_probs, targets_of(data, 'valid')).item()
    print(f'{method}, seed {seed}: mAP {valid_ap:.4f} on validation photos', flush=True)
    both = pd.concat([by_label, pd.DataFrame([mean])], ignore_index=True)
    return both.assign(method=method, seed=seed, photos=len(probs), valid_ap=valid_ap)


def compared(data, one, other):
    "Head only against fine_tune, both asked about the same photos: the difference, and *its* luck"
    targets = targets_of(data, 'test')
    def ahead(one, other, targets): return average_precision(one, targets)-average_precision(other, targets)
    def mean_ahead(*tables): return ahead(*tables).mean()
    by_label = ahead(one, other, targets)
    return dict(one='head only', other='fine_tune', photos=len(targets), pixels=SIZE,
        ahead=by_label.mean().item(), error=error(mean_ahead, one, other, targets, n=1000).item(),
        labels_ahead=int((by_label>0).sum()))


def voc():
    data = photos()
    print({part: len(getattr(data, part)) for part in ('train','valid','test')})
    ways = {'head only': (head_only,1), 'from scratch': (from_scratch,3), 'fine_tune': (fine_tuned,1)}
    res,said = [],{}
    for method,(way,n_seeds) in ways.items():
        for seed in range(n_seeds):
            answers = way(data, seed)
            res.append(measured(method, seed, data, *answers))
            said.setdefault(method, answers[1]) # of the first seed, on test photos
    store('voc_difference', pd.DataFrame([compared(data, said['head only'], said['fine_tune'])]))
    columns = ['method','seed','label','photos','yes','ap','ap_error','clear_ap','f1','f1_own','valid_ap']
    store('voc', pd.concat(res)[columns])


# --- the chapter's own training with five seeds, and a rival that sees colours only

def as_in_the_lesson(seed):
    "The lesson's lines from the seed on, `show_batch` too, since it draws at random; seed 0 is the page"
    table = scene_table('drawn')
    test = table.test.assign(fname='../test/'+table.test.fname)
    block = DataBlock((ImageBlock,MultiCategoryBlock(vocab=table.vocab)), splitter=ColSplitter(),
        get_x=ColReader('fname', pref=table.pictures), get_y=ColReader('labels', label_delim=' '),
        item_tfms=Resize(64), batch_tfms=[Flip(), Normalize.from_stats(*imagenet_stats)])
    set_seed(seed, reproducible=True)
    dls = block.dataloaders(table.df, bs=32, num_workers=0)
    dls.show_batch(max_n=3, show=False)
    kept = DataLoaders(*map(keep_items, dls))
    test_dl = keep_items(dls.test_dl(test, with_labels=True))
    learn = Learner(kept, small_cnn(len(table.vocab)), loss_func=BCEWithLogitsLossFlat())
    with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(8, 5e-3)
    return said(learn, kept.valid),said(learn, test_dl)


def one_thresh(probs, targets):
    "The one threshold for all labels with the best macro F1"
    threshs = torch.linspace(.02, .98, 97)
    return threshs[f1_by_thresh(probs, targets, threshs).mean(1).argmax()]


def seeds():
    """The lesson's lines five times. `behind` is how far mAP lies behind that of seed 0, on the same test
    scenes, and `error` the luck of that difference; thresholds are chosen on validation scenes"""
    answers = [as_in_the_lesson(seed) for seed in range(5)]
    first,targets = answers[0][1]
    def behind(one, other, targets): return mean_ap(one, targets)-mean_ap(other, targets)
    rows = []
    for seed,(valid,(probs,_)) in enumerate(answers):
        row = dict(seed=seed, mAP=mean_ap(probs, targets), behind=behind(first, probs, targets),
            error=error(behind, first, probs, targets))
        for name,thresh in {'half': .5, 'one': one_thresh(*valid), 'own': best_threshs(*valid)}.items():
            row |= {f'valid_f1_{name}': macro_f1(*valid, thresh),
                f'f1_{name}': macro_f1(probs, targets, thresh),
                f'accuracy_{name}': accuracy_of_probs(probs, targets, thresh)}
        rows.append({name: float(value) for name,value in row.items()})
        print(rows[-1], flush=True)
    store('seeds', pd.DataFrame(rows).astype({'seed': int}))


def colours():
    "AP and share of right answers of each label by gradient boosting, which is given counts of colours only"
    from sklearn.ensemble import HistGradientBoostingClassifier
    table = scene_table('drawn')
    def counts(files):
        "How many pixels of each of 8*8*8 colours"
        pictures = torch.stack([tensor(Resize(64)(PILImage.create(o))).long()//32 for o in files])
        each = (pictures*tensor([64,8,1])).sum(-1).flatten(1)
        return torch.stack([torch.bincount(o, minlength=512) for o in each]).numpy()
    train,test = table.df[~table.df.is_valid],table.test
    is_there = encode_labels(train.labels.str.split(), table.vocab).numpy()
    targets = encode_labels(test.labels.str.split(), table.vocab)
    train,test = counts(table.pictures/train.fname),counts(table.path/'test'/test.fname)
    rows = []
    for i,label in enumerate(table.vocab):
        model = HistGradientBoostingClassifier(max_iter=150, random_state=0).fit(train, is_there[:,i])
        probs,truth = tensor(model.predict_proba(test)[:,1:]),targets[:,[i]]
        rows.append(dict(label=label, ap=average_precision(probs, truth).item(),
            accuracy=accuracy_of_probs(probs, truth).item()))
        print(rows[-1], flush=True)
    store('colours', pd.DataFrame(rows))


# --- one animal at a time, or two

VOCAB = ['cat','dog',*breeds]


def drawn(n, k, part):
    "`n` scenes with `k` animals of different breeds"
    rng = random.Random(f'{k} {part}')
    for i in range(n):
        names = rng.sample(breeds, k)
        present = {*names, *map(species, names)}
        yield dict(file=np.array(draw_scene(f'{part} {k} {i}', names=names)[0]), is_valid=part=='test', n=k,
            labels=' '.join(o for o in VOCAB if o in present))


def other_half(probs, targets):
    "Answers by thresholds from every second picture for the rest, and the other way round"
    res,even = torch.zeros_like(probs),torch.arange(len(probs))%2==0
    for half in (even,~even):
        res[half] = (probs[half] > best_threshs(probs[~half], targets[~half])).float()
    return res


def counted(probs, targets, k):
    "Scores of pictures with `k` breeds, and how many of these are named"
    preds = probs>.5
    hits = (preds*targets).sum(1)
    highest = targets.gather(1, probs.topk(k).indices).sum(1)==k
    res = dict(mAP=mean_ap(probs, targets), F1=macro_f1(probs, targets),
        F1_own=macro_f1(other_half(probs, targets), targets), exact=exact_match(probs, targets))
    res |= {f'names {j}': (hits==j).float().mean() for j in range(3)}
    res |= dict(wrong_names=(preds & (targets==0)).sum(1).float().mean(), top_right=highest.float().mean())
    return {name: value.item() for name,value in res.items()}


def animals():
    ones,twos = [pd.DataFrame(drawn(1000, k, 'train')) for k in (1,2)]
    kinds = {'one': ones, 'two': twos, 'half of each': pd.concat([ones[:500], twos[500:]]),
        'all of both': pd.concat([ones, twos])}
    new = pd.concat([pd.DataFrame(drawn(500, k, 'test')) for k in (1,2)], ignore_index=True)
    rows = []
    for seed in range(3):
        for kind,train in kinds.items():
            dls,_ = batches(pd.concat([train, new], ignore_index=True), VOCAB, None, seed)
            set_seed(seed, reproducible=True)
            learn = small_learner(dls, VOCAB)
            fit(learn, 9, 5e-3)
            probs,targets = said(learn, dls.valid)
            for k in (1,2):
                own = [o[new.n.values==k][:,2:] for o in (probs,targets)] # without cat and dog
                which = {'seed': seed, 'trained on': kind, 'animals in the picture': k}
                rows.append(which | counted(*own, k))
            print(seed, kind, flush=True)
    store('animals', pd.DataFrame(rows))


# --- pairs of photos, and playing cards

def padded(size): return Resize(size, ResizeMethod.Pad, pad_mode='zeros')


def photo_learner(dls, seed):
    set_seed(seed, reproducible=True)
    learn = vision_learner(dls, squeezenet1_0, loss_func=BCEWithLogitsLossFlat())
    learn.model.to(memory_format=torch.channels_last)
    return learn


def a_row_each(seed, answers, df, vocab):
    "Probabilities of each picture, by each network"
    def one(name, probs):
        res = pd.DataFrame(probs.numpy().round(4), columns=vocab)
        return res.assign(fname=df.fname.values, labels=df.labels.values, seed=seed, model=name)
    return pd.concat([one(*o) for o in answers.items()])


def pair_answers(table, seed):
    df = with_files(table.df, table.pictures)
    dls,_ = batches(df, table.vocab, padded(160), seed)
    learn = photo_learner(dls, seed)
    before = said(learn, dls.valid)[0]
    fit(learn, 3, 5e-3)
    return {'untrained': before, 'trained': said(learn, dls.valid)[0]}


def card_answers(table, seed):
    "Letters are not mirrored: small turns instead. After three epochs the upper part of the body learns too"
    turns = aug_transforms(do_flip=False, max_rotate=10, max_zoom=1.1, max_lighting=.2, max_warp=0)
    df = with_files(table.df, table.pictures)
    dls,_ = batches(df, table.vocab, padded(288), seed, bs=16, changes=turns)
    learn = photo_learner(dls, seed)
    before = said(learn, dls.valid)[0]
    fit(learn, 3, 3e-3)
    learn.freeze_to(1)
    fit(learn, 4, slice(1e-5, 1e-3))
    return {'untrained': before, 'trained': said(learn, dls.valid)[0]}


def on_folder(name, answers_of, stored):
    table = scene_table(name)
    valid = table.df[table.df.is_valid]
    rows = [a_row_each(seed, answers_of(table, seed), valid, table.vocab) for seed in range(3)]
    store(stored, pd.concat(rows))


def pairs(): on_folder('cats-dogs/pairs', pair_answers, 'train_real')


def cards(): on_folder('cards', card_answers, 'train_cards_real')


PARTS = dict(voc=voc, seeds=seeds, colours=colours, animals=animals, pairs=pairs, cards=cards)


if __name__=='__main__': run_parts(PARTS, __doc__)
