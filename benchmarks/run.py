"""`make bench`: every row, then how cost grows; what PARTS=unknown measures, see unknown.py.
Writes results.csv, growth.csv, growth.png and the table in README.md.
Half an hour on two cores, which should have nothing else to do"""
import os, platform, re, sys, time, warnings
from importlib.metadata import version
from pathlib import Path

import pandas as pd

HERE = Path(__file__).resolve().parent
PARTS = 'labelling', 'training', 'scoring', 'checking', 'machines', 'many', 'loop'
LIBRARIES = 'torch', 'torchvision', 'fastai', 'pillow', 'scikit-learn', 'torchmetrics', 'mapie'


def machine():
    "Processor, cores, memory and versions, in one line"
    info = Path('/proc/cpuinfo')
    found = re.search(r'model name\s*: (.*)', info.read_text()) if info.exists() else None
    cpu = found[1] if found else platform.processor()
    gib = os.sysconf('SC_PAGE_SIZE')*os.sysconf('SC_PHYS_PAGES')/2**30
    libs = ', '.join(f'{o} {version(o)}' for o in LIBRARIES)
    return (f'{cpu}, {os.cpu_count()} cores, {gib:.0f} GiB, no GPU used; '
        f'{platform.system()}, Python {platform.python_version()}, {libs}; {time.strftime("%Y-%m-%d")}')


def secs(o): return f'{o:.0f} s' if o>=100 else f'{o:.3g} s'


def table(df):
    "Markdown; a ratio below its bar is bold"
    lines = ['| work | ours | other side | ratio, and its spread | at least | agreement | notes |']
    lines.append('|---|---|---|---|---|---|---|')
    for o in df.itertuples():
        bar = '–' if o.bar=='None' else o.bar
        ratio = f'{o.ratio:.3g} ({o.low:.3g} to {o.high:.3g}, {o.n} turns)'
        if o.bar.startswith('below'): ratio = '–'
        if re.fullmatch(r'[\d.]+', o.bar) and o.ratio<float(o.bar): ratio = f'**{ratio}**'
        cells = o.row, secs(o.ours), secs(o.theirs), ratio, bar, o.equal, o.note
        lines.append(f'| {" | ".join(map(str, cells))} |')
    return '\n'.join(lines)


def insert(name, text):
    "Replace what stands between two markers in README.md"
    readme = HERE/'README.md'
    begin, end = f'<!-- {name} -->\n', f'\n<!-- end of {name} -->'
    head, rest = readme.read_text().split(begin)
    readme.write_text(head+begin+text+end+rest.split(end)[1])


def growth_text(df):
    "What the plots say"
    def part(what): return df[df.what==what].set_index('n')
    p, l, z = part('pictures'), part('labels'), part('size')
    n, m, s = p.index[-1], l.index[-1], z.loc[260]
    def share(read): return f'{s.network/(s.network+s[read]):.0%}'.replace('%', ' %')
    few = l.index[0]
    return '\n'.join([
        f'- **Pictures.** {n:,} small ones take {p.seconds[n]:.0f} s, {p.seconds[n]/n*1000:.1f} ms each; '
        f'peak memory is {p.peak_mb[100]/1000:.2f} GB with a hundred, {p.peak_mb[n]/1000:.2f} GB with all. '
        'The bottleneck is the network.',
        '- **Size.** At 260 px, on one thread, the network takes '
        f'{s.network*1000:.1f} ms in full precision: {share("read_small")} of the work '
        f'on a small JPEG, {share("read_large")} on one of six megapixels, '
        f'where reading takes {s.read_large*1000:.0f} ms, hardly depends on the size, and is mostly '
        "the unpacking of the file's code, which no smaller picture spares. "
        f"From 96 to 448 px the network's time grows {z.network[448]/z.network[96]:.0f}-fold, "
        f'the area {(448/96)**2:.0f}-fold: large maps leave the cache.',
        f'- **Labels.** From {few} to {m:,} labels, 200 pictures in full precision take '
        f'{l.seconds[few]:.1f} and {l.seconds[m]:.1f} s, and the choice of all '
        'thresholds on 2,000 pictures, done once when training ends, '
        f'{l.choosing[few]:.2f} and {l.choosing[m]:.2f} s.'])


def as_texts(o):
    "A row as the table stores it"
    return {k: f'{v:.4g}' if isinstance(v, float) else str(v) for k,v in o.items()}


def main(parts):
    warnings.filterwarnings('ignore')
    stored = HERE/'results.csv'
    for part in [o for o in PARTS if o in parts]:
        old = []
        if stored.exists(): old = pd.read_csv(stored, dtype=str, keep_default_na=False).to_dict('records')
        for o in __import__(part).rows():
            o = dict(part=part, **as_texts(o), machine=machine())
            print(f'{o["row"]}: ratio {o["ratio"]}, at least {o["bar"]}', flush=True)
            old = [p for p in old if p['row']!=o['row']]+[o]
        pd.DataFrame(sorted(old, key=lambda o: PARTS.index(o['part']))).to_csv(stored, index=False)
    if stored.exists():
        df = pd.read_csv(stored, dtype=dict(bar=str), keep_default_na=False)
        insert('results', f'Measured on: {"; and ".join(df.machine.unique())}\n\n{table(df)}')
    if 'growth' in parts:
        df = __import__('growth').main()
        if df is not None: insert('growth', growth_text(df))
    if 'app_load' in parts: insert('app', __import__('app_load').main())
    if 'unknown' in parts: __import__('unknown').main()


if __name__=='__main__': main(sys.argv[1:] or [*PARTS, 'growth', 'app_load'])
