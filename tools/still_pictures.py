"Stored notebooks keep an explorer's still picture, not the view of it, which is empty without its kernel"
import sys
from pathlib import Path
from fastcore.nbio import read_nb, write_nb

VIEW = 'application/vnd.jupyter.widget-view+json'
NBS = Path(__file__).resolve().parent.parent/'nbs'


def keep_stills(nb):
    "Take views, and the widgets' state, out of `nb`; whether there were any. A view without a picture stays"
    data = [o['data'] for c in nb.cells for o in c.get('outputs', []) if VIEW in o.get('data', {}) and 'image/png' in o['data']]
    for o in data: del o[VIEW]
    return bool(nb.metadata.pop('widgets', None) or data)


def main():
    for path in map(Path, sys.argv[1:]) if sys.argv[1:] else [*NBS.glob('*.ipynb'), *NBS.glob('solutions/*.ipynb')]:
        nb = read_nb(path)
        if keep_stills(nb): write_nb(nb, path)


if __name__=='__main__': main()
