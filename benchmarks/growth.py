"""How cost grows with the number of pictures, of labels, and with the size.
Writes growth.csv and growth.png. Run it alone: `python benchmarks/growth.py`"""
import time
from pathlib import Path

import pandas as pd
import torch
from fastcore.basics import noop

import photos
from labelling import child

HERE, DEFAULT = Path(__file__).resolve().parent, 'efficientnet_lite2'


def seconds(fn):
    t0 = time.perf_counter()
    fn()
    return time.perf_counter()-t0


def by_pictures(model, sizes=(100,300,1000,3000,10_000)):
    "In a process each, so that memory is that of this run; the same 300 small pictures again and again"
    files, res = photos.drawn(300), []
    for n in sizes:
        o = child('ours', model, (files*(n//300+1))[:n])
        res.append(dict(what='pictures', n=n, seconds=o['secs'], peak_mb=o['peak_mb']))
    return res


def with_labels(n, seed=0):
    "A function that chooses score and thresholds for `n` labels; what is random costs the same"
    from mlc_course.classifier import fitted_classifier
    from mlc_course.engine.networks import build_model, find_arch
    from mlc_course.engine.training import Fitted, Parts
    torch.manual_seed(seed)
    kind = find_arch(DEFAULT)
    model = build_model(DEFAULT, n)
    vocab = [f'label_{i}' for i in range(n)]
    feats = torch.randn(3000, model[1][-1].in_features)
    targets = (torch.rand(3000, n)<max(.01, 1/n)).float()
    logits = torch.randn(2000, n)+3*targets[1000:]
    fitted = Fitted(feats[:1000], feats[1000:], logits)
    of_parts = Parts(targets[:1000], targets[1000:])
    config = dict(arch=DEFAULT, size=kind.size, **kind.facts(False), rare=[], training=dict(seed=0))
    def choose(): return fitted_classifier(model, fitted, of_parts, vocab, .95, config, say=noop)
    return choose


def by_labels(sizes=(3,10,30,100,300,1000)):
    "Labelling 200 pictures in full precision; choosing score and thresholds on 2,000, which is done once"
    files, res = photos.drawn(200), []
    for n in sizes:
        choose = with_labels(n)
        chosen, clf = seconds(choose), choose()
        def label(): clf.predict(files, exact=True)
        label()
        res.append(dict(what='labels', n=n, seconds=seconds(label), choosing=chosen))
    return res


def by_size(model, sizes=(96,128,160,224,260,320,448)):
    "Milliseconds a picture, on one thread: reading a large and a small JPEG, and the network"
    from mlc_course.classifier import Classifier
    from mlc_course.engine.pictures import batch_size, normalise, picture_tensor
    clf, res, n_threads = Classifier.load(model), [], torch.get_num_threads()
    large, small = photos.six_megapixels()[:8], photos.drawn(32)
    torch.set_num_threads(1)
    for size in sizes:
        xb = torch.stack([picture_tensor(f, size) for f in small[:batch_size(size)]])
        @torch.no_grad()
        def network(): clf.model(normalise(xb, (clf.config['mean'],clf.config['std'])))
        def read(files):
            def all_of_them(): return [picture_tensor(f, size) for f in files]
            return min(seconds(all_of_them) for _ in range(2))
        network()
        in_network = min(seconds(network) for _ in range(5))
        res.append(dict(what='size', n=size, network=in_network/len(xb),
            read_large=read(large)/len(large), read_small=read(small)/len(small)))
    torch.set_num_threads(n_threads)
    return res


def draw(df):
    import matplotlib
    matplotlib.use('Agg')
    import matplotlib.pyplot as plt
    blue, orange, green = '#0077BB', '#EE7733', '#009988'
    fig, axs = plt.subplots(1, 3, figsize=(12, 3.6), layout='constrained')
    def part(what): return df[df.what==what]
    o = part('pictures')
    axs[0].plot(o.n, o.seconds, 'o-', color=blue, label='seconds')
    axs[0].plot(o.n, o.peak_mb/1000, 's--', color=orange, label='peak memory, GB')
    axs[0].set(xscale='log', yscale='log', xlabel='pictures of 128 px')
    axs[0].set(title='Time grows with the pictures, memory not')
    o = part('labels')
    axs[1].plot(o.n, o.seconds, 'o-', color=blue, label='label 200 pictures, s')
    axs[1].plot(o.n, o.choosing, 's--', color=orange, label='choose thresholds on 2,000, s')
    axs[1].set(xscale='log', ylim=(0, None), xlabel='labels')
    axs[1].set(title='Labels cost nothing, their choice little')
    o = part('size')
    lines = dict(network=(blue,'o-','network'), read_large=(orange,'s--','read a 6-megapixel JPEG'),
        read_small=(green,'^:','read a 128 px JPEG'))
    for k,(c,style,text) in lines.items(): axs[2].plot(o.n, o[k]*1000, style, color=c, label=text)
    axs[2].set(xlabel='side of the square, pixels', ylabel='ms a picture, one thread')
    axs[2].set(title='The network outgrows the area')
    for ax in axs:
        ax.legend(frameon=False, fontsize=9)
        ax.spines[['top','right']].set_visible(False)
        ax.title.set_fontsize(10.5)
    fig.savefig(HERE/'growth.png', dpi=110)


def main():
    model = photos.model('six', [f for i,f in enumerate(photos.six_megapixels()) if i%2])
    df = pd.DataFrame([*by_pictures(model), *by_labels(), *by_size(model)])
    df.to_csv(HERE/'growth.csv', index=False, float_format='%.5g')
    draw(df)
    return df


if __name__=='__main__': print(main())
