"""What the benchmarks label: drawn six-megapixel JPEGs as a camera would write them, small photos if there
are any, models, and the same models in fastai"""
import os, shutil
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT/'build/bench'
SHARED = Path(os.environ.get('FASTAI_HOME') or ROOT.parent/'shared')/'data'
PETS = 'Siamese', 'beagle', 'rottweiler'


def six_megapixels(n=300):
    """`n` JPEGs of 3000 x 2000 pixels, 2 MB each: drawn pets with the grain of a sensor, without which a
    JPEG is small and quick to read"""
    import numpy as np
    from PIL import Image
    from mlc_course.draw.scenes import draw_portrait
    folder = CACHE/'six'
    if folder.exists(): return sorted(folder.iterdir())
    tmp = CACHE/'six.part'
    shutil.rmtree(tmp, ignore_errors=True)
    tmp.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(n//10):
        a = np.asarray(draw_portrait(PETS[i%3], i, size=2000)[0])
        a, grain = np.concatenate([a[:,:1000], a], 1), rng.normal(0, 8, (2000,3000,1))
        for k in range(10):
            b = np.roll(a, k*37, 1)+np.roll(grain, k*53, 0)
            img = Image.fromarray(b.clip(0, 255).astype(np.uint8))
            img.save(tmp/f'{PETS[i%3]}_{i*10+k+1}.jpg', quality=90)
    tmp.rename(folder)
    return sorted(folder.iterdir())


def drawn(n, size=128):
    "`n` small drawn portraits"
    from mlc_course.draw.scenes import draw_portrait
    folder = CACHE/f'drawn{size}'
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder/f'{PETS[i%3]}_{i+1}.jpg' for i in range(n)]
    for i,f in enumerate(files):
        if not f.exists(): draw_portrait(PETS[i%3], i, size)[0].save(f, quality=90)
    return files


def cats_dogs():
    "600 photos to train on and 2,000 others to label, 128 px; None where there are none"
    folder = SHARED/'cats-dogs/train'
    if not folder.is_dir(): return None
    files = sorted(folder.glob('*.jpg'))
    return SimpleNamespace(train=files[::10], label=[f for i,f in enumerate(files) if i%3==1][:2000])


def three_breeds():
    "480 photos of three breeds, each fifth to validate; None where there are none"
    folder = SHARED/'oxford-iiit-pet/images'
    names = 'Abyssinian', 'Bengal', 'american_bulldog'
    files = [f for o in names for f in sorted(folder.glob(f'{o}_*.jpg'))]
    return [(f, next(o for o in names if f.name.startswith(o)), i%5==0) for i,f in enumerate(files)] or None


def model(name, files):
    "Folder of a model trained on `files`, named after their label; made once"
    from fastcore.basics import noop
    from mlc_course.classifier import Classifier
    dest, photos = CACHE/f'model_{name}', CACHE/f'photos_{name}'
    if dest.exists(): return dest
    shutil.rmtree(photos, ignore_errors=True)
    for f in files:
        label = f.name.split('_')[0].split('.')[0]
        (photos/label).mkdir(parents=True, exist_ok=True)
        (photos/label/f.name).symlink_to(f)
    return Classifier.train(photos, say=noop).save(dest)


def in_fastai(folder):
    "The same network with the same weights, as `learn.export` writes it: a file for `load_learner`"
    from fastai.vision.all import (BCEWithLogitsLossFlat, DataBlock, ImageBlock, Learner, MultiCategoryBlock,
        Normalize, Pipeline, RegexLabeller, Resize, listify, using_attr)
    from mlc_course.classifier import Classifier
    dest, clf = folder.with_suffix('.pkl'), Classifier.load(folder)
    label_of = Pipeline([using_attr(RegexLabeller(r'^([A-Za-z]+)'), 'name'), listify])
    squeeze = Resize(clf.config['size'], method='squish')
    block = DataBlock((ImageBlock, MultiCategoryBlock(vocab=clf.vocab)), get_y=label_of,
        item_tfms=squeeze, batch_tfms=Normalize.from_stats(clf.config['mean'], clf.config['std']))
    files = sorted((CACHE/f'photos_{folder.name[6:]}').rglob('*.jpg'))[:16]
    Learner(block.dataloaders(files, bs=8), clf.model.cpu(), loss_func=BCEWithLogitsLossFlat()).export(dest)
    return dest
