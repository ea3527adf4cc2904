"""`make bench`: every row, then how cost grows; writes results.csv, growth.csv, growth.png and the table in README.md. Half an hour on two cores, which should have nothing else to do"""
import os, platform, re, sys, time, warnings
from importlib.metadata import version
from pathlib import Path

import pandas as pd

HERE = Path(__file__).resolve().parent
PARTS = 'labelling', 'training', 'scoring'


def machine():
    "Processor, cores, memory and versions, in one line"
    cpu = re.search(r'model name\s*: (.*)', Path('/proc/cpuinfo').read_text()) if Path('/proc/cpuinfo').exists() else None
    gib = os.sysconf('SC_PAGE_SIZE')*os.sysconf('SC_PHYS_PAGES')/2**30
    libs = ', '.join(f'{o} {version(o)}' for o in ('torch','torchvision','fastai','pillow','scikit-learn','torchmetrics','mapie'))
    return (f'{cpu[1] if cpu else platform.processor()}, {os.cpu_count()} cores, {gib:.0f} GiB, no GPU used; '
            f'{platform.system()}, Python {platform.python_version()}, {libs}; {time.strftime("%Y-%m-%d")}')


def secs(o): return f'{o:.0f} s' if o>=100 else f'{o:.3g} s'


def table(df):
    "Markdown; a ratio below its bar is bold"
    lines = ['| work | ours | other side | ratio, and its spread | at least | agreement | notes |', '|---|---|---|---|---|---|---|']
    for o in df.itertuples():
        limit = isinstance(o.bar, str) and not re.fullmatch(r'[\d.]+', o.bar)
        ratio = '–' if limit else f'{o.ratio:.3g} ({o.low:.3g} to {o.high:.3g}, {o.n} turns)'
        if not limit and o.ratio<float(o.bar): ratio = f'**{ratio}**'
        lines.append(f'| {o.row} | {secs(o.ours)} | {secs(o.theirs)} | {ratio} | {o.bar} | {o.equal} | {o.note} |')
    return '\n'.join(lines)


def insert(name, text):
    "Replace what stands between two markers in README.md"
    readme = HERE/'README.md'
    begin, end = f'<!-- {name} -->\n', f'\n<!-- end of {name} -->'
    head, rest = readme.read_text().split(begin)
    readme.write_text(head+begin+text+end+rest.split(end)[1])


def main(parts):
    warnings.filterwarnings('ignore')
    stored = HERE/'results.csv'
    old = pd.read_csv(stored, dtype=dict(bar=str), keep_default_na=False).to_dict('records') if stored.exists() else []
    for part in [o for o in PARTS if o in parts]:
        for o in __import__(part).rows():
            o = dict(part=part, **{k: str(v) if k=='bar' else f'{v:.4g}' if isinstance(v, float) else v for k,v in o.items()}, machine=machine())
            print(f'{o["row"]}: ratio {o["ratio"]}, at least {o["bar"]}', flush=True)
            old = [p for p in old if p['row']!=o['row']]+[o]
    df = pd.DataFrame(sorted(old, key=lambda o: PARTS.index(o['part'])))
    df.to_csv(stored, index=False)
    df = pd.read_csv(stored, dtype=dict(bar=str), keep_default_na=False)
    insert('results', f'Measured on: {"; and ".join(df.machine.unique())}\n\n{table(df)}')
    if 'growth' in parts: __import__('growth').main()


if __name__=='__main__': main(sys.argv[1:] or [*PARTS, 'growth'])
